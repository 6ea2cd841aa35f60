#pragma once
/** What the files of the service share. Private. service.c stands on all others, all stand on service_base.c.
 */
#include "kinds/instance/digest.h"
#include "kinds/instance/probe.h"
#include "kinds/instance/service.h"

/** Descriptors that probes may have open at a time: a ping socket a device and family, and TCP connections.
 */
#define PROBE_FDS 1024

/** One (vip, instance). */
struct seat {
        uint16_t number;                   /**< of the server in the front */
        bool is_set;                       /**< the front knows its next hop */
        bool is_dead;                      /**< we have told the front so, ahead of the plan */
        bool is_refusing;                  /**< its port does not take connections */
        bool is_checked;                   /**< ... which is asked under check_number() */
        struct instance_server_stats seen; /**< at the last sample */
        int64_t seen_ns;
        double retrans, errors, rate_kbps; /**< since the sample before; NaN: too little */
        double packets_s;
        struct instance_response answered; /**< at the end of the last window */
        int64_t answered_ns;
        double response_ms;      /**< mean of the newest window; NaN: nothing was answered in it */
        double response_last_ms; /**< of the newest in which something was */
        uint64_t hangs;          /**< promotions for a hang away from it */
        int64_t hang_ns;         /**< the newest; 0: none */
        int64_t reset_ns;        /**< the newest promotion by a reset or an early end; 0: none */
};

struct address {
        struct instance_service *service;
        unsigned index;
        uint16_t number; /**< of the vip in the front */
        bool is_adopted; /**< it was there before this session, and goes on */
        struct instance_address_plan plan;
        struct dog_group *group; /**< owned by the loop */
        struct seat seat[INSTANCE_SEATS_MAX];
        double share; /**< of new connections that are protected, as last told */
        enum instance_mode mode;
        bool has_mode; /**< told */
        bool has_keys; /**< of aligned mode, in the front */
        char why[256]; /**< it is not aligned, or not with all; "" */
};

struct instance_told;

struct machine {
        struct instance_service *service;
        unsigned index;
        struct instance_machine set;
        bool has_carrier, is_answering, has_answered, has_settled;
        bool is_unprobed; /**< its device was not there */
        bool is_drained, is_empty_told;
        int64_t drained_ns;
        struct dog_sample newest;
        int agent; /**< its number in the listener; -1: none */
        struct dog_exporter *exporter;
        int exporter_fd;
        int64_t exporter_due_ns;
        struct dog_vitals vitals;
        int64_t vitals_ns;        /**< 0: none yet */
        int64_t vitals_period_ns; /**< how often they come */
        bool is_doubted, is_agent_silent;
        struct dog_agent_shim shim; /**< as its agent said last */
        bool has_shim_word;         /**< the agent has said anything */
        unsigned serves, stands_by; /**< of the last count */
        struct dog_node_risk *node; /**< the host as a node; NULL: it reports nothing */
        double told_health;
        int64_t told_ns;
};

struct instance_service {
        struct instance_service_settings settings;
        char *words; /**< copies of the strings in settings */
        struct dog_hands_client *hands;
        struct dog_loop *loop;
        struct instance_front *front;
        struct machine *machine;
        unsigned machines;
        struct address *vip;
        unsigned vips;
        struct instance_digest digest;
        int probe_fd[PROBE_FDS];      /**< -1: free */
        struct instance_probe *probe; /**< of all machines, by index */
        struct instance_told *told;   /**< NULL: neither tells nor is told */
        struct dog_agents *agents;
        int agent_fd;
        struct instance_pair *pair; /**< NULL: alone */
        uint8_t aligned_secret[32];
        int64_t aligned_ns, cookies_ns;                   /**< due: a look at shims; the clock of cookies */
        bool has_pair_news, is_pair_alive, is_pair_equal; /**< as last told */
        struct dog_node_risk_config node;
        struct dog_node_risk_metric *node_metric;
        int64_t opened_ns, settle_ns;
        int64_t probe_ns, retry_ns, empty_ns, front_ns, agents_ns, measured_ns, counted_ns, sample_ns;
};

/* service_base.c */
void service_tell(struct instance_service *s, const struct instance_news *n, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
const char *service_server_name(const struct instance_service *s, unsigned number);
/** For each seat of a machine. */
#define SEATS_OF(s, m, a, k)                                                                                 \
        for (struct address * (a) = (s)->vip; (a) < (s)->vip + (s)->vips; (a)++)                             \
                for (unsigned(k) = 0; (k) < (a)->plan.seats; (k)++)                                          \
                        if ((a)->plan.seat[k].machine == (m))

/* measure.c */
int measure_open(struct instance_service *s, int64_t now_ns, struct dog_err *e);
void measure_close(struct instance_service *s);
bool measure_on_ready(struct instance_service *s, int fd, int64_t now_ns);
void measure_refresh(struct instance_service *s);
int64_t measure_on_timer(struct instance_service *s, int64_t now_ns);
/** Can it carry traffic, as far as is known now? Tells groups and, when it cannot, the front at once. */
void machine_judge(struct machine *m, int64_t now_ns);

/** Probes beyond the machines' ask the ports of TCP vips: seat k of vip a, or -1 when there is no room. */
int check_number(const struct instance_service *s, const struct address *a, unsigned k);

/* node.c */
int node_open(struct instance_service *s);
void node_close(struct instance_service *s);
/** New vitals have come. */
void node_vitals(struct machine *m, int64_t at_ns);
/** It stopped answering: what was said of its failing is held against that. */
void node_failed(struct machine *m, int64_t now_ns);
void node_view(const struct machine *m, struct instance_machine_view *v);

/* told.c */
int told_open(struct instance_service *s, struct dog_err *e);
void told_close(struct instance_service *s);
bool told_on_ready(struct instance_service *s, int fd, int64_t now_ns);
int64_t told_on_timer(struct instance_service *s, int64_t now_ns);

/* operate.c */
/** When did any of its servers send last? 0: never. */
int64_t machine_heard_ns(struct instance_service *s, const struct machine *m);
void operate_on_timer(struct instance_service *s, int64_t now_ns);
/** Count what each instance serves and stands by for; walks the table. */
void operate_count(struct instance_service *s, int64_t now_ns);

/* pairing.c */
/** Where a vip's flows are in its table: from what both of the pair share. 0: there is no pair */
uint32_t pairing_seed(struct instance_service *s, unsigned place);
int pairing_open(struct instance_service *s, int64_t now_ns, struct dog_err *e);
void pairing_close(struct instance_service *s);
void pairing_event(struct instance_service *s, const struct instance_event *ev);
bool pairing_on_ready(struct instance_service *s, int fd, int64_t now_ns);
int64_t pairing_on_timer(struct instance_service *s, int64_t now_ns);

/* aligning.c */
int aligning_open(struct instance_service *s, struct dog_err *e);
void aligning_close(struct instance_service *s);
/** Which servers have a shim for what they serve: tell the front, and people when a vip's mode changes. */
void aligning_look(struct instance_service *s);
int64_t aligning_on_timer(struct instance_service *s, int64_t now_ns);
