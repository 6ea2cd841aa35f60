/* Prints sundog.conf(5) in scdoc: the introduction of docs/, then the keys from the table. */
#include "daemon/config.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
        if (argc != 2) {
                fprintf(stderr, "usage: conf_manual INTRODUCTION.scd\n");
                return 2;
        }
        FILE *from = fopen(argv[1], "r");
        if (!from) {
                perror(argv[1]);
                return 1;
        }
        char line[1024];
        int rc = 0;
        while (fgets(line, sizeof(line), from)) {
                if (strcmp(line, "@KEYS@\n") == 0)
                        rc = dog_config_write_manual(stdout);
                else
                        fputs(line, stdout);
        }
        fclose(from);
        return rc < 0 || fflush(stdout) != 0;
}
