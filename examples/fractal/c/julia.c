#include "fractal.h"

ESCAPE({ x = px; y = py; cx = -0.7269; cy = 0.1889; }, { y = 2 * x * y + cy; x = xx - yy + cx; })
