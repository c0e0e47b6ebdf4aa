#include "fractal.h"

ESCAPE({ x = y = 0; cx = px; cy = py; }, { y = 2 * x * y + cy; x = xx - yy + cx; })
