/* A compiler that only sleeps: the work whose best time is known, (sources / slots) x sleep, on any number of cores.
 *
 * With -c it sleeps SLEEPER_SECONDS (default 0.2), then writes its -o file and an empty rule to its -MF file.
 * Without -c it links: it writes its -o file at once. --version, -E and other questions are answered and cost nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void sleep_for(double seconds)
{
    struct timespec rest = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ;
}

static int write_file(const char *path, const char *text, const char *more)
{
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%s%s", text, more) < 0 || fclose(file)) {
        fprintf(stderr, "sleeper: %s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int count, char **arguments)
{
    const char *output = NULL, *rule = NULL, *seconds = getenv("SLEEPER_SECONDS");
    int compile = 0;
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i];
        if (!strcmp(argument, "--version")) {
            puts("sleeper 1.0");
            return 0;
        }
        if (!strcmp(argument, "-E"))
            return 0;
        if (!strcmp(argument, "-c"))
            compile = 1;
        else if (!strcmp(argument, "-o") && i + 1 < count)
            output = arguments[++i];
        else if (!strncmp(argument, "-o", 2))
            output = argument + 2;
        else if (!strcmp(argument, "-MF") && i + 1 < count)
            rule = arguments[++i];
        else if (!strncmp(argument, "-MF", 3))
            rule = argument + 3;
    }
    if (!output)
        return 0;
    if (compile)
        sleep_for(seconds ? atof(seconds) : 0.2);
    if (rule && write_file(rule, output, ":\n"))
        return 1;
    return write_file(output, "slept\n", "");
}
