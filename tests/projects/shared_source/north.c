#include <Python.h>

#include "common.h"

MODULE(north)
