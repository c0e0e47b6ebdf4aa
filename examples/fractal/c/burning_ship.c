#include "fractal.h"

/* Its imaginary axis points down, or the ship would float keel up. */
ESCAPE({ x = y = 0; cx = px; cy = -py; }, { y = 2 * fabs(x * y) + cy; x = xx - yy + cx; })
