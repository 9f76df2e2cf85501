/* One token a row through a small Llama: the arithmetic of decoder.py, and every key and value read once.
 *
 * Compiled for the machine it runs on and for one head size D. A row's numbers come from the same instructions in the
 * same order whatever stands in the other rows and however many threads share the work.
 *
 * A weight is cut into panels of PANEL columns, [panel, in, PANEL], zeros behind the last column. In gate_up, columns
 * of gate and of up alternate by LANES, so that a panel holds both halves of what is multiplied. */

#include <math.h>
#include <string.h>

#if defined __AVX512F__ && D % 16 == 0 /* else D is a multiple of 8 */
#define LANES 16
#define TALL 8
#else
#define LANES 8
#define TALL 4
#endif
#define APART 4 /* sums of values that do not wait for one another */
#define PANEL (2 * LANES)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int picks __attribute__((vector_size(4 * LANES)));
typedef enum { PLAIN, ADD, GATE } Ending;

typedef struct {
    const float *qkv, *bias, *gains, *out, *gate_up, *down;
    long window; /* 0 for all */
} Layer;

typedef struct {
    long width, layers, heads, kv_heads, hidden, vocabulary, rows, capacity;
    float eps;
    const float *embedding, *head, *cos, *sin;
    const Layer *layer;
    float *keys, *values; /* [layers, rows, kv_heads, capacity, D] */
} Model;

long panel(void) { return PANEL; }

static inline float power(float x) { /* e to the x, to 2 units in the last place (Cephes' expf) */
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float whole = __builtin_rintf(x * 1.44269504f), r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { int bits; float number; } two = {((int)whole + 127) << 23};
    return (p * r * r + r + 1.0f) * two.number;
}

static inline float over_root(const float *x, long n, float eps) { /* 1 / RMS */
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (long i = 0; i < n; i++) sum += x[i] * x[i];
    return 1.0f / sqrtf(sum / n + eps);
}

/* TALL rows of x times one panel. */
static inline void tile(const float *const *x, long in, const float *w, float y[TALL][PANEL]) {
    lanes left[TALL] = {0}, right[TALL] = {0};
    for (long i = 0; i < in; i++, w += PANEL) {
        lanes a = *(const lanes *)w, b = *(const lanes *)(w + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TALL; r++) {
            left[r] += x[r][i] * a;
            right[r] += x[r][i] * b;
        }
    }
    for (int r = 0; r < TALL; r++) {
        *(lanes *)y[r] = left[r];
        *(lanes *)(y[r] + LANES) = right[r];
    }
}

/* y = f(norm(x) W + bias), for all threads of a region together; without eps no norm. */
static void product(const float *x, long n, long in, const float *w, long out, const float *bias, float eps,
                    Ending ending, float *y) {
    long wide = ending == GATE ? LANES : PANEL;
#pragma omp for collapse(2) schedule(static)
    for (long c = 0; c < out; c += wide)
        for (long first = 0; first < n; first += TALL) {
            const float *rows[TALL];
            float found[TALL][PANEL];
            long count = n - first < TALL ? n - first : TALL, columns = out - c < wide ? out - c : wide;
            for (long r = 0; r < TALL; r++) rows[r] = x + in * (first + (r < count ? r : 0));
            tile(rows, in, w + c / wide * in * PANEL, found);
            for (long r = 0; r < count; r++) {
                float *to = y + (first + r) * out + c, scale = eps > 0 ? over_root(rows[r], in, eps) : 1.0f;
                const float *t = found[r];
                if (ending == GATE)
                    for (long i = 0; i < columns; i++)
                        to[i] = scale * t[i] / (1.0f + power(-scale * t[i])) * (scale * t[LANES + i]);
                else if (ending == ADD)
                    for (long i = 0; i < columns; i++) to[i] += t[i];
                else if (bias)
                    for (long i = 0; i < columns; i++) to[i] = scale * t[i] + bias[c + i];
                else
                    for (long i = 0; i < columns; i++) to[i] = scale * t[i];
            }
        }
}

/* A head's norm, where the model has one, and its turn to its place. */
static inline void turn(const float *x, const float *gains, float eps, const float *cos, const float *sin, float *y) {
    float z[D], scale = gains ? over_root(x, D, eps) : 1.0f;
    for (int i = 0; i < D; i++) z[i] = gains ? x[i] * scale * gains[i] : x[i];
    for (int i = 0; i < D / 2; i++) {
        y[i] = z[i] * cos[i] + z[i + D / 2] * sin[i];
        y[i + D / 2] = z[i + D / 2] * cos[i + D / 2] + z[i] * sin[i + D / 2];
    }
}

/* Of vectors x[2j] and x[2j + 1], neighbouring halves of `half` lanes added: the first's sums, then the second's. */
#define LOW(lane, half) ((lane) + (lane) / (half) * (half))
#define HIGH(lane, half) (LOW(lane, half) + (half))
#define EIGHT(f, lane, half) f(lane, half), f(lane + 1, half), f(lane + 2, half), f(lane + 3, half), \
    f(lane + 4, half), f(lane + 5, half), f(lane + 6, half), f(lane + 7, half)
#if LANES == 16
#define EVERY(f, half) EIGHT(f, 0, half), EIGHT(f, 8, half)
#else
#define EVERY(f, half) EIGHT(f, 0, half)
#endif
#define FOLD(x, half) \
    for (int j = 0; j < half; j++) \
        x[j] = __builtin_shuffle(x[2 * j], x[2 * j + 1], (picks){EVERY(LOW, half)}) + \
               __builtin_shuffle(x[2 * j], x[2 * j + 1], (picks){EVERY(HIGH, half)});

/* softmax(q kᵀ) v over `count` places, LANES of them at a time: their products are summed across lanes together. */
static inline void attend(const float *q, const float *keys, const float *values, long count, float *y) {
    float p[count + LANES], top = -INFINITY, sum = 0;
    lanes mixed[APART][D / LANES] = {0}, part[LANES];
    for (long s = 0; s < count; s += LANES) {
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            const float *key = keys + (s + j < count ? s + j : count - 1) * D;
            part[j] = *(const lanes *)q * *(const lanes *)key;
#pragma GCC unroll 16
            for (int i = LANES; i < D; i += LANES) part[j] += *(const lanes *)(q + i) * *(const lanes *)(key + i);
        }
#if LANES == 16
        FOLD(part, 8)
#endif
        FOLD(part, 4)
        FOLD(part, 2)
        FOLD(part, 1)
        *(lanes *)(p + s) = part[0];
    }
#pragma omp simd reduction(max : top)
    for (long s = 0; s < count; s++) top = p[s] > top ? p[s] : top;
#pragma omp simd reduction(+ : sum)
    for (long s = 0; s < count; s++) sum += p[s] = power(p[s] - top);
    long s = 0;
    for (; s + APART <= count; s += APART)
#pragma GCC unroll 8
        for (int j = 0; j < APART; j++)
#pragma GCC unroll 16
            for (int i = 0; i < D / LANES; i++) mixed[j][i] += p[s + j] * *(const lanes *)(values + (s + j) * D + i * LANES);
    for (; s < count; s++)
        for (int i = 0; i < D / LANES; i++) mixed[0][i] += p[s] * *(const lanes *)(values + s * D + i * LANES);
    for (int i = 0; i < D / LANES; i++) {
        for (int j = 1; j < APART; j++) mixed[0][i] += mixed[j][i];
        *(lanes *)(y + i * LANES) = mixed[0][i] / sum;
    }
}

/* The new keys and values go to their places, then every head of the row attends. */
static void attention(const Model *m, long number, long n, const long *places, const float *qkv, float *y) {
    const Layer *layer = m->layer + number;
    long group = m->heads / m->kv_heads, all = m->heads + 2 * m->kv_heads;
#pragma omp for collapse(2) schedule(static)
    for (long row = 0; row < n; row++)
        for (long k = 0; k < m->kv_heads; k++) {
            long place = places[row], begin = layer->window && place >= layer->window ? place + 1 - layer->window : 0;
            long block = ((number * m->rows + row) * m->kv_heads + k) * m->capacity * D, h = m->heads + k;
            const float *cos = m->cos + place * D, *sin = m->sin + place * D, *heads = qkv + row * all * D;
            float *keys = m->keys + block, *values = m->values + block, q[D];
            const float *gains = layer->gains;
            turn(heads + h * D, gains ? gains + h * D : 0, m->eps, cos, sin, keys + place * D);
            memcpy(values + place * D, heads + (h + m->kv_heads) * D, sizeof(float) * D);
            for (h = k * group; h < (k + 1) * group; h++) {
                turn(heads + h * D, gains ? gains + h * D : 0, m->eps, cos, sin, q);
                attend(q, keys + begin * D, values + begin * D, place + 1 - begin, y + (row * m->heads + h) * D);
            }
        }
}

/* Logits behind one more token of each of the first n rows. Room: n × (width + heads D + the larger of qkv, hidden). */
void step(const Model *m, long n, const long *tokens, const long *places, long threads, float *room, float *logits) {
    long width = m->width, wide = m->heads * D, qkv = (m->heads + 2 * m->kv_heads) * D;
    float *x = room, *mixed = x + n * width, *inner = mixed + n * wide;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (long row = 0; row < n; row++)
            memcpy(x + row * width, m->embedding + tokens[row] * width, sizeof(float) * width);
        for (long i = 0; i < m->layers; i++) {
            const Layer *layer = m->layer + i;
            product(x, n, width, layer->qkv, qkv, layer->bias, m->eps, PLAIN, inner);
            attention(m, i, n, places, inner, mixed);
            product(mixed, n, wide, layer->out, width, 0, 0, ADD, x);
            product(x, n, width, layer->gate_up, m->hidden, 0, m->eps, GATE, inner);
            product(inner, n, m->hidden, layer->down, width, 0, 0, ADD, x);
        }
        product(x, n, width, m->head, m->vocabulary, 0, m->eps, PLAIN, logits);
    }
}
