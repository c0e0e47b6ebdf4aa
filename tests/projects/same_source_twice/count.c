/* Every copy that is linked counts itself. Nothing here is global, so two copies link. */
extern int copies;

__attribute__((constructor)) static void count(void) { copies += 1; }
