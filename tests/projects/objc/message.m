#include "module.h"

MODULE(message, 3)
