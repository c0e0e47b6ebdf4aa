#include "module.h"

#include <made.h>

MODULE(includer, MADE)
