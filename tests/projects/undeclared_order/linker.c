#include "module.h"

int made(void);

MODULE(linker, made())
