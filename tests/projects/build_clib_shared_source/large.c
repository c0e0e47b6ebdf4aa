#include "module.h"

int big(void);

MODULE(large, big())
