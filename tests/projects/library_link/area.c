#include "module.h"

int area_of(int a, int b);

MODULE(area, area_of(6, 7))
