#include "common.h"

int common_value(void) { return COMMON_VALUE; }
const char *common_name(void) { return COMMON_NAME; }
