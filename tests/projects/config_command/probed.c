#include "module.h"

MODULE(probed, HAVE_STRLEN * 1000 + HAVE_NOTHING * 100 + HAVE_NO_TYPE * 10 + HAVE_MAIN)
