#pragma once
/** Ask a running agent over its UNIX socket. */
#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>

/** @param ask "status" or "conns". @return 0; -ECONNREFUSED, -ENOENT (not running), ... with a sentence */
int agent_client_ask(const char *socket, const char *ask, bool is_json, FILE *to, struct dog_err *e);
