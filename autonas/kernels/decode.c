/* One token more for each of some sequences, behind a cache of keys and values: a whole step in one call, products included.
 *
 * Shapes: B sequences, d width, f inner width, H query heads, K key-value heads, D width of a head, V vocabulary. In each layer
 * keys are (B, K, D, room) and values (B, K, room, D filled up to whole vectors with zeros), so that both are read in vectors;
 * room is in whole vectors, too. Sequence b has lengths[b] tokens in its cache, and its new one goes to that slot.
 */

#include "common.h"

/* By layer: matrices of qkv, out, up, down, each packed; norms before attention and feed-forward, and the final one. */
typedef struct {
    int64_t layers, width, heads, kv_heads, head_width, inner, gated, kind, vocabulary;
    double epsilon;
    const acc *embedding, *position;            /* (V, d); (context, d) or NULL */
    const acc *cosine, *sine, *slopes;          /* (context, D / 2) or NULL; (H) or NULL */
    const real *head;                           /* packed */
    const real *const *matrices;                /* 4 for each layer */
    const acc *const *norm_weights;             /* 2 for each layer, and 1 */
    const acc *const *norm_biases;              /* the same, NULL for RMSNorm */
} Decoder;

static void norm_row(int64_t d, const acc *x, const acc *weight, const acc *bias, double epsilon, acc *y) {
    acc mean = 0, square = 0;
    if (bias) {
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < d; i++) mean += x[i];
        mean /= (acc)d;
    }
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < d; i++) square += (x[i] - mean) * (x[i] - mean);
    acc inverse = (acc)(1.0 / sqrt((double)square / (double)d + epsilon));
    if (bias) {
#pragma omp simd
        for (int64_t i = 0; i < d; i++) y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < d; i++) y[i] = x[i] * inverse * weight[i];
    }
}

/* Matrices lie in panels of PANEL outputs: (panels, inputs, PANEL), the last filled up with zeros. So a product runs along the
 * outputs, in vectors, and needs no sums across one. */
#define LANES ((int64_t)(64 / sizeof(acc)))
#define PANEL (4 * LANES)
typedef acc vec __attribute__((vector_size(64)));
typedef acc loose __attribute__((vector_size(64), aligned(sizeof(acc)), may_alias));

#if REAL_BITS == 16
typedef uint16_t half_vec __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t bits_vec __attribute__((vector_size(64)));
static inline vec load_vec(const real *p) { return (vec)(__builtin_convertvector(*(const half_vec *)p, bits_vec) << 16); }
#else
static inline vec load_vec(const real *p) { return *(const loose *)p; }
#endif

static inline int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

/* panels = matrix (outputs, inputs). */
void pack(int threads, int64_t inputs, int64_t outputs, const real *matrix, real *panels) {
    (void)threads;
    for (int64_t first = 0; first < outputs; first += PANEL) {
        int64_t count = outputs - first < PANEL ? outputs - first : PANEL;
        real *panel = panels + first * inputs;
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t o = 0; o < PANEL; o++) panel[i * PANEL + o] = o < count ? matrix[(first + o) * inputs + i] : (real)0;
    }
}

#define TILE(ROWS)                                                                                                  \
    {                                                                                                               \
        vec s[ROWS][4];                                                                                             \
        for (int r = 0; r < ROWS; r++)                                                                              \
            for (int c = 0; c < 4; c++) s[r][c] = (vec){0};                                                         \
        for (int64_t i = 0; i < inputs; i++) {                                                                      \
            const real *w = panel + i * PANEL;                                                                      \
            vec w0 = load_vec(w), w1 = load_vec(w + LANES), w2 = load_vec(w + 2 * LANES), w3 = load_vec(w + 3 * LANES); \
            for (int r = 0; r < ROWS; r++) {                                                                        \
                vec in = (vec){0} + x[(b + r) * inputs + i];                                                        \
                s[r][0] += in * w0;                                                                                 \
                s[r][1] += in * w1;                                                                                 \
                s[r][2] += in * w2;                                                                                 \
                s[r][3] += in * w3;                                                                                 \
            }                                                                                                       \
        }                                                                                                           \
        for (int r = 0; r < ROWS; r++) {                                                                            \
            acc *to = y + (b + r) * outputs + first;                                                                \
            const acc *sums = (const acc *)s[r];                                                                    \
            for (int64_t o = 0; o < count; o++) to[o] = sums[o] + (add ? to[o] : 0);                                \
        }                                                                                                           \
    }

/* y (B, outputs) = x (B, inputs) times the transposed matrix in panels, or added to y. Each thread has its panels. */
static void product(int64_t B, int64_t inputs, int64_t outputs, const real *panels, const acc *x, acc *y, int add) {
    int64_t begin, end;
    share((outputs + PANEL - 1) / PANEL, &begin, &end);
    for (int64_t number = begin; number < end; number++) {
        const real *panel = panels + number * inputs * PANEL;
        int64_t first = number * PANEL, count = outputs - first < PANEL ? outputs - first : PANEL, b = 0;
        for (; b + 4 <= B; b += 4) TILE(4)
        if (b + 2 <= B) {
            TILE(2)
            b += 2;
        }
        if (b < B) TILE(1)
    }
}

static inline void rotate_row(int64_t D, acc *x, const acc *cosine, const acc *sine) {
    int64_t half = D / 2;
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        acc a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

/* A sequence's new keys and values (of qkv's row, rotated in place) into slot `at` of its cache. */
static void append(int64_t H, int64_t K, int64_t D, int64_t room, int64_t at, acc *qkv, const acc *cosine, const acc *sine,
                   real *keys, real *values) {
    int64_t wide = padded(D);
    for (int64_t h = 0; cosine && h < H + K; h++) rotate_row(D, qkv + h * D, cosine + at * (D / 2), sine + at * (D / 2));
    for (int64_t h = 0; h < K; h++) {
        const acc *k = qkv + (H + h) * D, *v = qkv + (H + K + h) * D;
        real *key = keys + h * D * room + at, *value = values + (h * room + at) * wide;
        for (int64_t i = 0; i < D; i++) {
            key[i * room] = store(k[i]);
            value[i] = store(v[i]);
        }
    }
}

/* What one query head sees in keys (D, room) and values (room, padded D), of which `count` are filled. weights: `room` numbers. */
static void look(int64_t D, int64_t room, int64_t count, const acc *q, const real *keys, const real *values, acc slope,
                 acc *weights, acc *y) {
    acc scale = (acc)(1.0 / sqrt((double)D)), top = -INFINITY, sum = 0;
    int64_t wide = padded(D);
    for (int64_t j = 0; j < count; j += LANES) {
        vec dots = {0};
        for (int64_t i = 0; i < D; i++) dots += q[i] * load_vec(keys + i * room + j);
        *(loose *)(weights + j) = dots;
    }
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < count; j++) {
        weights[j] = weights[j] * scale + slope * (acc)(j - (count - 1));
        top = weights[j] > top ? weights[j] : top;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        weights[j] = exponential(weights[j] - top);
        sum += weights[j];
    }
    acc inverse = 1 / sum;
    for (int64_t i = 0; i < D; i += LANES) {
        vec even = {0}, odd = {0};
        int64_t j = 0;
        for (; j + 2 <= count; j += 2) {
            even += weights[j] * load_vec(values + j * wide + i);
            odd += weights[j + 1] * load_vec(values + (j + 1) * wide + i);
        }
        if (j < count) even += weights[j] * load_vec(values + j * wide + i);
        even = (even + odd) * inverse;
        int64_t left = D - i < LANES ? D - i : LANES;
        memcpy(y + i, &even, sizeof(acc) * (size_t)left);
    }
}

/* logits (B, V) behind `tokens` (B). scratch: B (3 d + (H + 2K) D + 3 f) numbers. */
void decode_step(int threads, const Decoder *m, int64_t B, int64_t room, const int64_t *tokens, const int64_t *lengths, real *keys,
                 real *values, acc *logits, acc *scratch) {
    int64_t d = m->width, H = m->heads, K = m->kv_heads, D = m->head_width, f = m->inner, all = (H + 2 * K) * D;
    int64_t up = m->gated ? 2 * f : f;
    int64_t key_size = K * D * room, value_size = K * room * padded(D); /* of a sequence in a layer */
    acc *x = scratch, *n = x + B * d, *mixed = n + B * d, *qkv = mixed + B * d, *wide = qkv + B * all, *hidden = wide + B * 2 * f;
#pragma omp parallel num_threads(threads)
    {
        acc weights[room];
#pragma omp for
        for (int64_t b = 0; b < B; b++) {
            const acc *from = m->embedding + tokens[b] * d, *at = m->position ? m->position + lengths[b] * d : NULL;
            for (int64_t i = 0; i < d; i++) x[b * d + i] = from[i] + (at ? at[i] : 0);
        }
        for (int64_t layer = 0; layer < m->layers; layer++) {
            const real *const *matrix = m->matrices + 4 * layer;
            real *k = keys + layer * B * key_size, *v = values + layer * B * value_size;
#pragma omp for
            for (int64_t b = 0; b < B; b++)
                norm_row(d, x + b * d, m->norm_weights[2 * layer], m->norm_biases[2 * layer], m->epsilon, n + b * d);
            product(B, d, all, matrix[0], n, qkv, 0);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < B; b++)
                append(H, K, D, room, lengths[b], qkv + b * all, m->cosine, m->sine, k + b * key_size, v + b * value_size);
#pragma omp for
            for (int64_t at = 0; at < B * H; at++) {
                int64_t b = at / H, h = at % H, kv = b * K + h / (H / K);
                look(D, room, lengths[b] + 1, qkv + b * all + h * D, k + kv * D * room, v + kv * room * padded(D),
                     m->slopes ? m->slopes[h] : 0, weights, mixed + b * d + h * D);
            }
            product(B, d, d, matrix[1], mixed, x, 1);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < B; b++)
                norm_row(d, x + b * d, m->norm_weights[2 * layer + 1], m->norm_biases[2 * layer + 1], m->epsilon, n + b * d);
            product(B, d, up, matrix[2], n, wide, 0);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < B; b++) {
                const acc *in = wide + b * up;
                acc *out = hidden + b * f;
                if (m->gated) {
#pragma omp simd
                    for (int64_t i = 0; i < f; i++) out[i] = activate((int)m->kind, in[i]) * in[f + i];
                } else {
#pragma omp simd
                    for (int64_t i = 0; i < f; i++) out[i] = activate((int)m->kind, in[i]);
                }
            }
            product(B, f, d, matrix[3], hidden, x, 1);
#pragma omp barrier
        }
#pragma omp for
        for (int64_t b = 0; b < B; b++)
            norm_row(d, x + b * d, m->norm_weights[2 * m->layers], m->norm_biases[2 * m->layers], m->epsilon, n + b * d);
        product(B, d, m->vocabulary, m->head, n, logits, 0);
    }
}
