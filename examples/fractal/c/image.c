#include "fractal.h"

/* Means of light, not of bytes, keep thin filaments bright: square on the way in, root on the way out. */
static Colour pixel(const View *view, int column, int row)
{
    Colour sum = {0, 0, 0};
    double step = view->span / view->width;
    double left = view->x - view->span / 2, top = view->y + step * view->height / 2;
    int n = view->samples;

    for (int i = 0; i < n * n; i++) {
        double x = left + step * (column + (i % n + 0.5) / n);
        double y = top - step * (row + (i / n + 0.5) / n);
        Colour ray = colour_of(escape(x, y, view->limit));
        sum.red += ray.red * ray.red;
        sum.green += ray.green * ray.green;
        sum.blue += ray.blue * ray.blue;
    }
    double rays = (double)n * n;
    return (Colour){sqrt(sum.red / rays), sqrt(sum.green / rays), sqrt(sum.blue / rays)};
}

void draw(const View *view, unsigned char *pixels)
{
    for (int row = 0; row < view->height; row++)
        for (int column = 0; column < view->width; column++) {
            Colour colour = pixel(view, column, row);
            *pixels++ = (unsigned char)(255 * colour.red + 0.5);
            *pixels++ = (unsigned char)(255 * colour.green + 0.5);
            *pixels++ = (unsigned char)(255 * colour.blue + 0.5);
        }
}
