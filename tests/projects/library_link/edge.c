#include "module.h"

int edge_of(int a, int b);

MODULE(edge, edge_of(6, 7))
