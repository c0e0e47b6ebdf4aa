#include "config.h"

int number(void) { return NUMBER; }
