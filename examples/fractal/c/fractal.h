/* What the sources of one extension know of each other. */

#ifndef FRACTAL_H
#define FRACTAL_H

#include <math.h>

typedef struct {
    double red, green, blue; /* each from 0 to 1 */
} Colour;

typedef struct {
    int width, height; /* pixels */
    double x, y;       /* the centre */
    double span;       /* the width of what is seen */
    int limit;         /* steps after which a point counts as caught */
    int samples;       /* rays along each side of a pixel */
} View;

/* Steps until a point flies off, with a fraction; negative if it never does within `limit`. */
double escape(double px, double py, int limit);

/* The colour of an escape time. */
Colour colour_of(double time);

/* Fill `pixels`, three bytes each, row by row from the top. */
void draw(const View *view, unsigned char *pixels);

/* Define escape(): START sets x, y, cx and cy from px and py, STEP moves x and y once.
   Where a point has left the circle, log log of its distance gives the fraction of a step. */
#define ESCAPE(START, STEP)                                                 \
    double escape(double px, double py, int limit)                          \
    {                                                                       \
        double x, y, cx, cy;                                                \
        START;                                                              \
        for (int n = 0; n < limit; n++) {                                   \
            double xx = x * x, yy = y * y;                                  \
            if (xx + yy > 1e4)                                              \
                return fmax(0.0, n + 2 - log2(0.5 * log2(xx + yy)));        \
            STEP;                                                           \
        }                                                                   \
        return -1;                                                          \
    }

#endif
