// A program without an SDK: its standard input and output are the client. The first argument
// says what it does. It is also built for this machine, and must say the same there.
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

static int cat(void) {
    char data[5000];
    ssize_t count;
    while ((count = read(0, data, sizeof data)) > 0)
        for (ssize_t sent = 0; sent < count;) {
            ssize_t more = write(1, data + sent, count - sent);
            if (more < 0)
                return 3;
            sent += more;
        }
    return count < 0 ? 4 : 0;
}

static int upper(void) {
    int c;
    while ((c = getchar()) != EOF)
        putchar(toupper(c));
    return 0;
}

static int lines(void) {
    char line[1000];
    for (int number = 1; fgets(line, sizeof line, stdin); number++) {
        printf("%d: %s", number, line);
        fflush(stdout);
    }
    return 0;
}

static int environment(void) {
    for (char **variable = environ; *variable; variable++)
        puts(*variable);
    return 0;
}

static int arguments(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        printf("[%s]", argv[i]);
    return 0;
}

// Writes without end, and looks at no error.
static int yes(void) {
    static char lines[4096];
    memset(lines, 'y', sizeof lines);
    for (;;)
        if (write(1, lines, sizeof lines) < 0)
            continue;
}

static int spin(void) {
    for (volatile unsigned n = 0;; n++) {
    }
}

// Ends its output, and goes on to read.
static int half_close(void) {
    printf("first\n");
    fflush(stdout);
    close(1);
    char data[1000];
    size_t all = 0;
    ssize_t count;
    while ((count = read(0, data, sizeof data)) > 0)
        all += count;
    fprintf(stderr, "read %zu after the end of the output\n", all);
    return 0;
}

// Waits for input with a timeout, and says how that ended.
static int poll_input(int milliseconds) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    printf("%d\n", poll(&input, 1, milliseconds));
    fflush(stdout);
    return cat();
}

static int answer_of(size_t length) {
    for (size_t i = 0; i < length; i++)
        putchar('a');
    return fflush(stdout) ? 5 : 0;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "cat";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    if (!strcmp(mode, "cat"))
        return cat();
    if (!strcmp(mode, "upper"))
        return upper();
    if (!strcmp(mode, "lines"))
        return lines();
    if (!strcmp(mode, "env"))
        return environment();
    if (!strcmp(mode, "args"))
        return arguments(argc, argv);
    if (!strcmp(mode, "exit")) {
        printf("bye\n");
        return number;
    }
    if (!strcmp(mode, "stderr")) {
        fprintf(stderr, "to the log\n");
        printf("to the client\n");
        return 0;
    }
    if (!strcmp(mode, "yes"))
        return yes();
    if (!strcmp(mode, "spin"))
        return spin();
    if (!strcmp(mode, "close"))
        return half_close();
    if (!strcmp(mode, "poll"))
        return poll_input(number);
    if (!strcmp(mode, "answer"))
        return answer_of(number);
    if (!strcmp(mode, "abort"))
        __builtin_trap();
    if (!strcmp(mode, "sleep"))
        return poll(NULL, 0, number) < 0;
    if (!strcmp(mode, "ignore")) {
        printf("ignored\n");
        return 0;
    }
    return 2;
}
