#include "ctl/command.h"
const struct option_row option_demo[] = {{NULL, NULL, OPTION_FLAG, 0, NULL}};
int command_demo(struct ctl *ctl, int argc, char **argv)
{
        (void)ctl, (void)argc, (void)argv;
        return ctl_fail(EXIT_FAILED, "not yet");
}
