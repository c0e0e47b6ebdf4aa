#include "module.h"

int beside(void);

MODULE(plain, beside())
