#include "module.h"

MODULE(maker, 1)
