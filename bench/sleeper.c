/* A compiler that only sleeps: the work whose best time is known, on any number of cores.
 *
 * With -c it sleeps SLEEPER_SECONDS (default 0.2), then writes its -o file. Without -c it links: it writes its -o file
 * at once. Where it is asked what it has read (-MF, -Wl,--dependency-file=), it names its inputs. --version, -E and
 * other questions are answered and cost nothing.
 *
 * SLEEPER_TIMES names a file of lines SECONDS, tab, NAME: then a command sleeps as long as is said there, a source by
 * its path, a link by "link:" and its output's base name up to the first dot. With SLEEPER_PATH, questions and
 * commands that are not in the file are answered by the program of this one's name on that path: so a setup.py that
 * tries the compiler gets its answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char dependency_file[] = "-Wl,--dependency-file=";

static void sleep_for(double seconds)
{
    struct timespec rest = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&rest, &rest) == -1 && errno == EINTR)
        ;
}

static int is_input(const char *argument)
{
    static const char *const suffixes[] = {".c", ".cc", ".cpp", ".cxx", ".c++", ".C", ".m", ".mm", ".s", ".S", ".o"};
    const char *dot = strrchr(argument, '.');
    for (size_t i = 0; dot && argument[0] != '-' && i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcmp(dot, suffixes[i]))
            return 1;
    return 0;
}

static int complain(const char *path)
{
    fprintf(stderr, "sleeper: %s: %s\n", path, strerror(errno));
    return 1;
}

/* A rule as make reads it if there are inputs to name, else a line of no meaning. */
static int write_file(const char *path, const char *output, int count, char **arguments)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return complain(path);
    if (output)
        fprintf(file, "%s:", output);
    else
        fputs("slept", file);
    for (int i = 1; output && i < count; i++)
        if (is_input(arguments[i]) && strcmp(arguments[i], output))
            fprintf(file, " %s", arguments[i]);
    fputs("\n", file);
    return fclose(file) ? complain(path) : 0;
}

/* The path relative to the current folder, if it lies there. */
static const char *relative(const char *path)
{
    static char folder[4096];
    size_t length = getcwd(folder, sizeof folder) ? strlen(folder) : 0;
    if (length && !strncmp(path, folder, length) && path[length] == '/')
        path += length + 1;
    return strncmp(path, "./", 2) ? path : path + 2;
}

/* The seconds of a line whose name is `name`; less than 0 if there is none. */
static double look_up(const char *times, const char *name)
{
    char line[8192];
    double found = -1;
    FILE *file = fopen(times, "r");
    while (file && found < 0 && fgets(line, sizeof line, file)) {
        char *tab = strchr(line, '\t');
        line[strcspn(line, "\n")] = 0;
        if (tab && !strcmp(tab + 1, name))
            found = atof(line);
    }
    if (file)
        fclose(file);
    return found;
}

static double time_of(const char *times, int compile, const char *output, int count, char **arguments)
{
    char name[4096];
    double found = -1;
    if (!compile) {
        const char *base = strrchr(output, '/');
        base = base ? base + 1 : output;
        snprintf(name, sizeof name, "link:%.*s", (int)strcspn(base, "."), base);
        return look_up(times, name);
    }
    for (int i = 1; i < count && found < 0; i++)
        if (is_input(arguments[i]))
            found = look_up(times, relative(arguments[i]));
    return found;
}

/* Become the program that would have run without this one. */
static int hand_on(char **arguments, const char *path)
{
    const char *name = strrchr(arguments[0], '/');
    setenv("PATH", path, 1);
    name = name ? name + 1 : arguments[0];
    arguments[0] = (char *)name;
    execvp(name, arguments);
    return complain(name) + 126;
}

int main(int count, char **arguments)
{
    const char *output = NULL, *rule = NULL, *seconds = getenv("SLEEPER_SECONDS");
    const char *times = getenv("SLEEPER_TIMES"), *path = getenv("SLEEPER_PATH");
    int compile = 0, question = 0;
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i];
        if (!strcmp(argument, "--version") || !strcmp(argument, "-E"))
            question = 1;
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
        else if (!strncmp(argument, dependency_file, sizeof dependency_file - 1))
            rule = argument + sizeof dependency_file - 1;
    }
    double rest = compile ? (seconds ? atof(seconds) : 0.2) : 0;
    question = question || !output;
    if (times && !question)
        rest = time_of(times, compile, output, count, arguments);
    if (path && (question || rest < 0))
        return hand_on(arguments, path);
    if (question) {
        puts("sleeper 1.0");
        return 0;
    }
    sleep_for(rest);
    if (rule && write_file(rule, output, count, arguments))
        return 1;
    return write_file(output, NULL, count, arguments);
}
