#include <Python.h>

#include "common.h"

MODULE(west)
