#include "agent/view.h"

#include "base/array.h"
#include "base/clock.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <string.h>

/* ---- answers ---- */

static json_t *view_number(double v)
{
        return isfinite(v) ? json_real(v) : json_null();
}

static json_t *view_ago(int64_t now_ns, int64_t then_ns)
{
        return then_ns ? json_real((double)(now_ns - then_ns) / (double)DOG_S) : json_null();
}

static void view_endpoint(const uint8_t address[16], uint16_t port, char *to, size_t room)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        char text[INET6_ADDRSTRLEN] = "?";
        if (memcmp(address, mapped, sizeof(mapped)) == 0) {
                inet_ntop(AF_INET, address + 12, text, sizeof(text));
                snprintf(to, room, "%s:%u", text, port);
        } else {
                inet_ntop(AF_INET6, address, text, sizeof(text));
                snprintf(to, room, "[%s]:%u", text, port);
        }
}

static const char *view_state(unsigned state)
{
        static const char *const word[] = {
                "?",      "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait",
                "closed", "close-wait",  "last-ack", "listen",       "closing",    "new-syn"};
        return word[state < ARRAY_SIZE(word) ? state : 0];
}

static json_t *view_conn(const struct agent_view *v, const struct dog_conn_entry *entry)
{
        char local[64], remote[64];
        view_endpoint(entry->conn.flow.local, entry->conn.flow.local_port, local, sizeof(local));
        view_endpoint(entry->conn.flow.remote, entry->conn.flow.remote_port, remote, sizeof(remote));
        const char *teller = entry->status_ns ? agent_link_front(v->link, entry->teller)->text : "";
        return json_pack(
                "{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:I}", "client", remote,
                "served", local, "state", entry->closed_ns ? "closed" : view_state(entry->conn.state),
                "status", dog_agent_status_word(entry->status), "front", teller, "opened_s",
                view_ago(v->now_ns, entry->opened_ns), "closed_s", view_ago(v->now_ns, entry->closed_ns),
                "status_s", view_ago(v->now_ns, entry->status_ns), "acked", (json_int_t)entry->conn.acked,
                "received", (json_int_t)entry->conn.received, "rtt_ms", entry->conn.rtt_us / 1000.0, "resent",
                (json_int_t)entry->conn.resent, "unsent", (json_int_t)entry->conn.unsent_bytes);
}

enum { VIEW_JSON = JSON_COMPACT | JSON_REAL_PRECISION(10) };

static void view_conns(const struct agent_view *v, FILE *to)
{
        const struct dog_conn_entry *entry;
        const char *between = "";
        fputc('[', to);
        for (uint32_t at = 0; (entry = dog_conn_map_next(agent_table_map(v->table), &at));) {
                json_t *one = view_conn(v, entry);
                if (!one)
                        continue;
                fputs(between, to);
                json_dumpf(one, to, VIEW_JSON);
                json_decref(one);
                between = ",";
        }
        fputc(']', to);
}

static json_t *view_front(const struct agent_view *v, const struct agent_link_front *f)
{
        json_t *drops = json_object();
        for (unsigned i = 1; i < DOG_AGENT_DROP_COUNT; i++)
                if (f->dropped[i])
                        json_object_set_new(drops, dog_agent_drop_word((enum dog_agent_drop)i),
                                            json_integer((json_int_t)f->dropped[i]));
        return json_pack("{s:s, s:b, s:o, s:o, s:I, s:s, s:o, s:b, s:I, s:I, s:I, s:o}", "front", f->text,
                         "is_away", f->is_away, "answered_s", view_ago(v->now_ns, f->answered_ns), "rtt_ms",
                         f->rtt_ns ? json_real((double)f->rtt_ns / (double)DOG_MS) : json_null(),
                         "unanswered", (json_int_t)f->unanswered, "role", dog_agent_role_word(f->role),
                         "score", view_number(f->score), "wants_conns", f->wants_conns, "sent",
                         (json_int_t)f->sent, "unsent", (json_int_t)f->unsent, "taken", (json_int_t)f->taken,
                         "refused", drops);
}

static json_t *view_status(const struct agent_view *v)
{
        struct agent_table_counts n;
        agent_table_count(v->table, &n);
        json_t *fronts = json_array(), *vitals = json_object(), *status = json_object();
        for (unsigned i = 0; i < v->config->fronts; i++)
                json_array_append_new(fronts, view_front(v, agent_link_front(v->link, i)));
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++)
                json_object_set_new(vitals, dog_vital_word((enum dog_vital)i),
                                    view_number(v->vitals->value[i]));
        for (unsigned i = 0; i < DOG_AGENT_STATUS_COUNT; i++)
                json_object_set_new(status, dog_agent_status_word((enum dog_agent_status)i),
                                    json_integer((json_int_t)n.by_status[i]));
        json_t *o =
                json_pack("{s:s, s:o, s:o, s:I, s:s, s:s, s:o, s:o, s:{s:I, s:I, s:I, s:I, s:I, s:o}}",
                          "name", v->config->name, "up_s", view_ago(v->now_ns, v->started_ns), "read_s",
                          view_ago(v->now_ns, v->read_ns), "readings", (json_int_t)v->readings, "missing",
                          v->missing, "sockets", v->sockets, "fronts", fronts, "vitals", vitals, "conns",
                          "open", (json_int_t)n.open, "closed", (json_int_t)n.closed, "opened_ever",
                          (json_int_t)n.opened_ever, "closed_ever", (json_int_t)n.closed_ever, "refused",
                          (json_int_t)dog_conn_map_refused(agent_table_map(v->table)), "by_status", status);
        json_object_set_new(o, "shim", json_string(dog_agent_shim_word(v->shim->state)));
        json_object_set_new(o, "shim_text", json_string(dog_agent_shim_text(v->shim->state)));
        return o;
}

void agent_view_write(const struct agent_view *v, const char *ask, FILE *to)
{
        json_t *status = strcmp(ask, "status") == 0 ? view_status(v) : NULL;
        if (!status && strcmp(ask, "conns") != 0) {
                fputs("{\"ok\":false,\"error\":\"there are the questions {\\\"ask\\\":\\\"status\\\"} and "
                      "{\\\"ask\\\":\\\"conns\\\"}, in one line\"}\n",
                      to);
                return;
        }
        fputs("{\"ok\":true,\"answer\":", to);
        if (status)
                json_dumpf(status, to, VIEW_JSON);
        else
                view_conns(v, to);
        fputs("}\n", to);
        json_decref(status);
}

/* ---- printing ---- */

static const char *text_of(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));
        return text ? text : "";
}

static double number_of(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);
        return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* Seconds ago, for people; "-" when it never was. `to` holds 16 bytes. */
static const char *ago_of(const json_t *object, const char *key, char *to)
{
        double s = number_of(object, key);
        if (isnan(s))
                return "-";
        return dog_units_time_text((int64_t)(s * (double)DOG_S), to);
}

static const char *size_of(const json_t *object, const char *key, char *to)
{
        return dog_units_size_text((uint64_t)json_integer_value(json_object_get(object, key)), to);
}

static void print_vital(const char *word, double value, FILE *to)
{
        const char *unit = "", *help = "";
        for (unsigned i = 0; i < DOG_VITAL_COUNT; i++) {
                if (strcmp(dog_vital_word((enum dog_vital)i), word) != 0)
                        continue;
                unit = dog_vital_unit((enum dog_vital)i);
                help = dog_vital_help((enum dog_vital)i);
        }
        char text[24];
        snprintf(text, sizeof(text), isnan(value) ? "-" : "%.4g", value);
        fprintf(to, "  %-15s %12s %-12s %s\n", word, text, strcmp(unit, "ratio") == 0 ? "" : unit, help);
}

void agent_view_status_print(const json_t *status, FILE *to)
{
        char a[16], b[16];
        const json_t *conns = json_object_get(status, "conns"), *value;
        fprintf(to, "instance %s, up %s, %.0f readings, the last %s ago\n", text_of(status, "name"),
                ago_of(status, "up_s", a), number_of(status, "readings"), ago_of(status, "read_s", b));
        if (text_of(status, "missing")[0])
                fprintf(to, "this kernel does not tell: %s\n", text_of(status, "missing"));
        if (text_of(status, "sockets")[0])
                fprintf(to, "%s\n", text_of(status, "sockets"));
        /* Who asked for none is not told that there is none. */
        if (strcmp(text_of(status, "shim"), "none") != 0)
                fprintf(to, "aligned mode: %s\n", text_of(status, "shim_text"));
        size_t i;
        const json_t *front;
        fprintf(to, "\n%-24s %-8s %-9s %-8s %-13s %-6s %8s %8s\n", "FRONT", "STATE", "ANSWERED", "RTT",
                "ROLE", "SCORE", "SENT", "TAKEN");
        json_array_foreach(json_object_get(status, "fronts"), i, front)
        {
                char rtt[16] = "-", score[16] = "-";
                if (!isnan(number_of(front, "rtt_ms")))
                        dog_units_time_text((int64_t)(number_of(front, "rtt_ms") * (double)DOG_MS), rtt);
                if (!isnan(number_of(front, "score")))
                        snprintf(score, sizeof(score), "%.2f", number_of(front, "score"));
                fprintf(to, "%-24s %-8s %-9s %-8s %-13s %-6s %8.0f %8.0f\n", text_of(front, "front"),
                        json_is_true(json_object_get(front, "is_away")) ? "away" : "answers",
                        ago_of(front, "answered_s", a), rtt, text_of(front, "role"), score,
                        number_of(front, "sent"), number_of(front, "taken"));
                const char *reason;
                json_object_foreach((json_t *)(uintptr_t)json_object_get(front, "refused"), reason, value)
                        fprintf(to, "  refused %s: %lld\n", reason, (long long)json_integer_value(value));
        }
        fprintf(to, "\nconnections: %.0f open, %.0f opened and %.0f closed so far\n",
                number_of(conns, "open"), number_of(conns, "opened_ever"), number_of(conns, "closed_ever"));
        const char *word;
        json_object_foreach((json_t *)(uintptr_t)json_object_get(conns, "by_status"), word,
                            value) if (json_integer_value(value))
                fprintf(to, "  %-15s %lld\n", word, (long long)json_integer_value(value));
        fprintf(to, "\nvitals\n");
        json_object_foreach((json_t *)(uintptr_t)json_object_get(status, "vitals"), word, value)
                print_vital(word, json_is_number(value) ? json_number_value(value) : (double)NAN, to);
}

void agent_view_conns_print(const json_t *conns, FILE *to)
{
        size_t i;
        const json_t *c;
        fprintf(to, "%-28s %-28s %-12s %-14s %-8s %-8s %9s %9s %8s %6s\n", "CLIENT", "SERVED", "STATE",
                "STATUS", "SINCE", "OPENED", "ACKED", "RECEIVED", "RTT", "RESENT");
        json_array_foreach(conns, i, c)
        {
                char since[16], opened[16], acked[16], received[16], rtt[16];
                fprintf(to, "%-28s %-28s %-12s %-14s %-8s %-8s %9s %9s %8s %6.0f\n", text_of(c, "client"),
                        text_of(c, "served"), text_of(c, "state"), text_of(c, "status"),
                        ago_of(c, "status_s", since), ago_of(c, "opened_s", opened),
                        size_of(c, "acked", acked), size_of(c, "received", received),
                        dog_units_time_text((int64_t)(number_of(c, "rtt_ms") * (double)DOG_MS), rtt),
                        number_of(c, "resent"));
        }
}
