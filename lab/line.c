#include "lab/line.h"

#include <math.h>
#include <stdlib.h>

/* A packet between the end of its transmission and its arrival. */
struct flight {
        int64_t due_ns;
        uint64_t order; /* ties leave in the order they came */
        struct lab_packet *packet;
};

struct waiting {
        struct lab_packet *packet;
        int64_t extra_ns; /* what reorder adds */
        bool may_overtake;
};

struct lab_line {
        struct lab_line_settings set;
        struct lab_line_counts counts;
        struct dog_rng rng;
        void (*release)(void *owner, struct lab_packet *p);
        void *owner;

        struct waiting *queue; /* a ring of queue_size, a power of two */
        size_t queue_size, queue_head, queue_count;
        uint64_t queued_bytes;
        int64_t sending_until_ns; /* when the head of the queue is out; only with queue_count > 0 */
        double stalled_bits;      /* what was left of the head when the rate became zero */
        bool is_stalled;

        struct flight *heap;
        size_t heap_size, heap_count;
        uint64_t order;
        int64_t last_due_ns;
        bool in_burst;
};

const char *lab_drop_name(enum lab_drop reason)
{
        static const char *const names[] = {
#define LAB_DROP_NAME(id, name, why) name,
                LAB_DROPS(LAB_DROP_NAME)
#undef LAB_DROP_NAME
        };
        return (unsigned)reason < LAB_DROP_COUNT ? names[reason] : "?";
}

struct lab_line_settings lab_line_defaults(void)
{
        return (struct lab_line_settings){.keeps_order = true,
                                          .shape = LAB_SHAPE_NORMAL,
                                          .burst_leave = 1,
                                          .reorder_by_ns = 10000000,
                                          .queue_bytes = 256 * 1024};
}

struct lab_line *lab_line_new(uint64_t seed, void (*release)(void *owner, struct lab_packet *p), void *owner)
{
        struct lab_line *l = calloc(1, sizeof(*l));
        if (!l)
                return NULL;
        l->set = lab_line_defaults();
        l->release = release;
        l->owner = owner;
        l->last_due_ns = INT64_MIN;
        dog_rng_init(&l->rng, seed);
        return l;
}

static void line_drop(struct lab_line *l, struct lab_packet *p, enum lab_drop why)
{
        l->counts.dropped[why]++;
        l->release(l->owner, p);
}

/* Everything inside is lost, queued or flying. */
static void line_flush(struct lab_line *l)
{
        for (; l->queue_count; l->queue_count--) {
                line_drop(l, l->queue[l->queue_head].packet, LAB_DROP_CUT);
                l->queue_head = (l->queue_head + 1) & (l->queue_size - 1);
        }
        l->queued_bytes = 0;
        l->is_stalled = false;
        while (l->heap_count)
                line_drop(l, l->heap[--l->heap_count].packet, LAB_DROP_CUT);
}

void lab_line_free(struct lab_line *l)
{
        if (!l)
                return;
        line_flush(l);
        free(l->queue);
        free(l->heap);
        free(l);
}

const struct lab_line_settings *lab_line_settings_of(const struct lab_line *l)
{
        return &l->set;
}

struct lab_line_counts *lab_line_counts_of(struct lab_line *l)
{
        return &l->counts;
}

size_t lab_line_inside(const struct lab_line *l, uint64_t *queued_bytes)
{
        if (queued_bytes)
                *queued_bytes = l->queued_bytes;
        return l->queue_count + l->heap_count;
}

/* ---- the heap of packets in flight, earliest first ---- */

static bool flight_before(const struct flight *a, const struct flight *b)
{
        return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static int heap_push(struct lab_line *l, struct flight f)
{
        if (l->heap_count == l->heap_size) {
                size_t size = l->heap_size ? l->heap_size * 2 : 256;
                struct flight *grown = realloc(l->heap, size * sizeof(*grown));
                if (!grown)
                        return -1;
                l->heap = grown;
                l->heap_size = size;
        }
        size_t at = l->heap_count++;
        while (at > 0 && flight_before(&f, &l->heap[(at - 1) / 2])) {
                l->heap[at] = l->heap[(at - 1) / 2];
                at = (at - 1) / 2;
        }
        l->heap[at] = f;
        return 0;
}

static struct flight heap_pop(struct lab_line *l)
{
        struct flight top = l->heap[0];
        struct flight last = l->heap[--l->heap_count];
        size_t at = 0;
        for (;;) {
                size_t child = 2 * at + 1;
                if (child >= l->heap_count)
                        break;
                if (child + 1 < l->heap_count && flight_before(&l->heap[child + 1], &l->heap[child]))
                        child++;
                if (!flight_before(&l->heap[child], &last))
                        break;
                l->heap[at] = l->heap[child];
                at = child;
        }
        l->heap[at] = last;
        return top;
}

/* ---- delay ---- */

static int64_t jitter_draw(struct lab_line *l)
{
        double j = (double)l->set.jitter_ns;
        if (l->set.jitter_ns == 0)
                return 0;
        switch (l->set.shape) {
        case LAB_SHAPE_UNIFORM:
                return (int64_t)(j * (2 * dog_rng_unit(&l->rng) - 1));
        case LAB_SHAPE_NORMAL:
                return (int64_t)(j * dog_rng_normal(&l->rng));
        case LAB_SHAPE_TAIL:
                return (int64_t)(-j * log(1 - dog_rng_unit(&l->rng)));
        default:
                return 0;
        }
}

/* The packet's last bit left at from_ns: let it fly. */
static void line_fly(struct lab_line *l, struct waiting w, int64_t from_ns)
{
        int64_t delay = l->set.delay_ns + jitter_draw(l) + w.extra_ns;
        int64_t due = from_ns + (delay > 0 ? delay : 0);
        if (!w.may_overtake && l->set.keeps_order) {
                if (due < l->last_due_ns)
                        due = l->last_due_ns;
                l->last_due_ns = due;
        }
        if (heap_push(l, (struct flight){due, l->order++, w.packet}) < 0)
                line_drop(l, w.packet, LAB_DROP_POOL);
}

/* ---- rate ---- */

static int64_t send_time_ns(const struct lab_line *l, double bits)
{
        return (int64_t)(bits / l->set.rate_bps * 1e9);
}

static void head_start(struct lab_line *l, int64_t now_ns)
{
        double bits = 8.0 * l->queue[l->queue_head].packet->bytes;
        l->is_stalled = l->set.is_stalled;
        l->stalled_bits = bits;
        if (!l->is_stalled)
                l->sending_until_ns = now_ns + send_time_ns(l, bits);
}

static struct waiting queue_pop(struct lab_line *l)
{
        struct waiting w = l->queue[l->queue_head];
        l->queue_head = (l->queue_head + 1) & (l->queue_size - 1);
        l->queue_count--;
        l->queued_bytes -= w.packet->bytes;
        return w;
}

/* Move every packet whose last bit is out by now_ns from the queue into the air. */
static void queue_run(struct lab_line *l, int64_t now_ns)
{
        while (l->queue_count && !l->is_stalled && l->sending_until_ns <= now_ns) {
                int64_t out_ns = l->sending_until_ns;
                line_fly(l, queue_pop(l), out_ns);
                if (l->queue_count)
                        head_start(l, out_ns);
        }
}

static int queue_push(struct lab_line *l, struct waiting w)
{
        if (l->queue_count == l->queue_size) {
                size_t size = l->queue_size ? l->queue_size * 2 : 256;
                struct waiting *grown = calloc(size, sizeof(*grown));
                if (!grown)
                        return -1;
                for (size_t i = 0; i < l->queue_count; i++)
                        grown[i] = l->queue[(l->queue_head + i) & (l->queue_size - 1)];
                free(l->queue);
                l->queue = grown;
                l->queue_size = size;
                l->queue_head = 0;
        }
        l->queue[(l->queue_head + l->queue_count++) & (l->queue_size - 1)] = w;
        l->queued_bytes += w.packet->bytes;
        return 0;
}

void lab_line_change(struct lab_line *l, const struct lab_line_settings *s, int64_t now_ns)
{
        queue_run(l, now_ns);
        double old_bps = l->set.rate_bps;
        bool had_rate = old_bps > 0 && !l->is_stalled;
        l->set = *s;
        if (s->is_cut) {
                line_flush(l);
                return;
        }
        if (l->queue_count == 0)
                return;
        /* What is left of the head goes on at the new rate. */
        double bits = had_rate ? (double)(l->sending_until_ns - now_ns) * 1e-9 * old_bps : l->stalled_bits;
        l->is_stalled = s->is_stalled;
        l->stalled_bits = bits;
        if (l->is_stalled)
                return;
        if (s->rate_bps > 0) {
                l->sending_until_ns = now_ns + send_time_ns(l, bits);
                return;
        }
        while (l->queue_count)
                line_fly(l, queue_pop(l), now_ns);
}

/* ---- in and out ---- */

static bool chance(struct lab_line *l, double p)
{
        return p > 0 && dog_rng_unit(&l->rng) < p;
}

static void line_enqueue(struct lab_line *l, struct waiting w)
{
        if (l->set.rate_bps <= 0 && !l->set.is_stalled) {
                line_fly(l, w, w.packet->in_ns);
                return;
        }
        queue_run(l, w.packet->in_ns);
        if (l->queued_bytes + w.packet->bytes > l->set.queue_bytes) {
                line_drop(l, w.packet, LAB_DROP_QUEUE);
                return;
        }
        if (queue_push(l, w) < 0) {
                line_drop(l, w.packet, LAB_DROP_POOL);
                return;
        }
        if (l->queue_count == 1)
                head_start(l, w.packet->in_ns);
}

void lab_line_offer(struct lab_line *l, struct lab_packet *p)
{
        l->counts.in_packets++;
        l->counts.in_bytes += p->bytes;
        if (l->set.is_cut) {
                line_drop(l, p, LAB_DROP_CUT);
                return;
        }
        if (l->set.burst_enter > 0) {
                l->in_burst = l->in_burst ? !chance(l, l->set.burst_leave) : chance(l, l->set.burst_enter);
                if (l->in_burst) {
                        line_drop(l, p, LAB_DROP_BURST);
                        return;
                }
        }
        if (chance(l, l->set.loss)) {
                line_drop(l, p, LAB_DROP_LOSS);
                return;
        }
        struct waiting w = {.packet = p};
        if (chance(l, l->set.reorder)) {
                w.extra_ns = l->set.reorder_by_ns;
                w.may_overtake = true;
                l->counts.reordered++;
        }
        bool twice = chance(l, l->set.duplicate);
        if (twice) {
                p->refs++;
                l->counts.duplicated++;
        }
        line_enqueue(l, w);
        if (twice)
                line_enqueue(l, w);
}

int64_t lab_line_next_ns(struct lab_line *l)
{
        int64_t next = INT64_MAX;
        /* Nobody sees the end of a transmission, only the arrival: sleep until that. */
        if (l->queue_count && !l->is_stalled)
                next = l->sending_until_ns + (l->set.jitter_ns ? 0 : l->set.delay_ns);
        if (l->heap_count && l->heap[0].due_ns < next)
                next = l->heap[0].due_ns;
        return next;
}

struct lab_packet *lab_line_take(struct lab_line *l, int64_t now_ns, int64_t *due_ns)
{
        queue_run(l, now_ns);
        if (!l->heap_count || l->heap[0].due_ns > now_ns)
                return NULL;
        struct flight f = heap_pop(l);
        *due_ns = f.due_ns;
        return f.packet;
}
