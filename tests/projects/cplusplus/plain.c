#include "module.h"

MODULE(plain, 4)
