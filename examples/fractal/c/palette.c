/* A cosine a channel, after Inigo Quilez (https://iquilezles.org/articles/palettes/). */

#include "fractal.h"

static const double phases[] = {PALETTE_PHASES};

static double channel(double turn, double phase)
{
    return 0.5 + 0.5 * cos(6.283185307179586 * (turn + phase));
}

Colour colour_of(double time)
{
    if (time < 0)
        return (Colour){0.02, 0.02, 0.05};
    double turn = 0.22 * log2(1 + time);
    return (Colour){channel(turn, phases[0]), channel(turn, phases[1]), channel(turn, phases[2])};
}
