#pragma once
/** Asks the daemon over its UNIX socket; see daemon/api.h for the questions. */
#include "base/err.h"

#include <jansson.h>

struct client;

/** -ENOENT or -ECONNREFUSED when nobody is there; -EACCES when we may not. */
int client_open(struct client **c, const char *socket_path, struct dog_err *e);
void client_close(struct client *c);
/**
 * Ask and wait up to five seconds.
 * @return the answer, a new reference; NULL with a sentence, and *code is the exit code that fits
 */
json_t *client_ask(struct client *c, json_t *question, int *code, struct dog_err *e);
/** The next line of a stream, waiting for it without limit; NULL at the end. */
json_t *client_next(struct client *c);
