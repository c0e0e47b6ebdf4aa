#include "generated.h"

int number(void) { return NUMBER; }
