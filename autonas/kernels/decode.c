/* One token more for each of some sequences, behind a cache of keys and values: a whole step in one call, products included.
 *
 * Shapes: B rows, d width, f inner width, H query heads, K key-value heads, D width of a head, V vocabulary. Of each head, keys lie
 * as (D, room) and values as (room, D filled up to whole vectors with zeros), so that both are read in vectors; room is in whole
 * vectors, too. Rows that continue the same prompt share its keys and values, which then come from a near cache.
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

/* weights (count) = scale times q by keys (D, room). */
static void score(int64_t D, int64_t room, int64_t count, const acc *q, const real *keys, acc scale, acc *weights) {
    for (int64_t j = 0; j < count; j += LANES) {
        vec dots = {0};
        for (int64_t i = 0; i < D; i++) dots += q[i] * load_vec(keys + i * room + j);
        dots *= scale;
        int64_t left = count - j < LANES ? count - j : LANES;
        memcpy(weights + j, &dots, sizeof(acc) * (size_t)left);
    }
}

/* The sum of values (room, padded D) by weights (count), of the vector of columns that begins at i. */
static inline vec gather(int64_t D, int64_t count, const acc *weights, const real *values, int64_t i) {
    int64_t wide = padded(D), j = 0;
    vec even = {0}, odd = {0};
    for (; j + 2 <= count; j += 2) {
        even += weights[j] * load_vec(values + j * wide + i);
        odd += weights[j + 1] * load_vec(values + (j + 1) * wide + i);
    }
    if (j < count) even += weights[j] * load_vec(values + j * wide + i);
    return even + odd;
}

/* Filled keys (D, room) and values (room, padded D) of a head. */
typedef struct {
    int64_t room, count;
    const real *keys, *values;
} Seen;

/* What one query head sees in its prompt and, behind that, in its own tokens. weights: as many numbers as both have. */
static void look(int64_t D, const acc *q, Seen prompt, Seen own, acc slope, acc *weights, acc *y) {
    acc scale = (acc)(1.0 / sqrt((double)D)), top = -INFINITY, sum = 0;
    int64_t count = prompt.count + own.count;
    score(D, prompt.room, prompt.count, q, prompt.keys, scale, weights);
    score(D, own.room, own.count, q, own.keys, scale, weights + prompt.count);
#pragma omp simd reduction(max : top)
    for (int64_t j = 0; j < count; j++) {
        weights[j] += slope * (acc)(j - (count - 1));
        top = weights[j] > top ? weights[j] : top;
    }
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < count; j++) {
        weights[j] = exponential(weights[j] - top);
        sum += weights[j];
    }
    acc inverse = 1 / sum;
    for (int64_t i = 0; i < D; i += LANES) {
        vec seen = gather(D, prompt.count, weights, prompt.values, i);
        seen += gather(D, own.count, weights + prompt.count, own.values, i);
        seen *= inverse;
        int64_t left = D - i < LANES ? D - i : LANES;
        memcpy(y + i, &seen, sizeof(acc) * (size_t)left);
    }
}

/* Keys and values of every layer: keys (layers, rows, K, D, room), values (layers, rows, K, room, padded D). */
typedef struct {
    int64_t rows, room;
    real *keys, *values;
} Cache;

static inline Seen seen_by(const Decoder *m, const Cache *cache, int64_t layer, int64_t row, int64_t head, int64_t count) {
    int64_t at = (layer * cache->rows + row) * m->kv_heads + head;
    Seen seen = {cache->room, count, cache->keys + at * m->head_width * cache->room,
                 cache->values + at * cache->room * padded(m->head_width)};
    return seen;
}

/* Rotate queries and keys of a row of qkv by `position`, and put its keys and values into slot `slot` of the row's cache. */
static void append(const Decoder *m, const Cache *own, int64_t layer, int64_t row, int64_t slot, int64_t position, acc *qkv) {
    int64_t H = m->heads, K = m->kv_heads, D = m->head_width, room = own->room, wide = padded(D);
    const acc *cosine = m->cosine + position * (D / 2), *sine = m->sine + position * (D / 2);
    for (int64_t h = 0; m->cosine && h < H + K; h++) rotate_row(D, qkv + h * D, cosine, sine);
    for (int64_t h = 0; h < K; h++) {
        const acc *k = qkv + (H + h) * D, *v = qkv + (H + K + h) * D;
        int64_t at = (layer * own->rows + row) * K + h;
        real *key = own->keys + at * D * room + slot, *value = own->values + (at * room + slot) * wide;
        for (int64_t i = 0; i < D; i++) {
            key[i * room] = store(k[i]);
            value[i] = store(v[i]);
        }
    }
}

/* logits (B, V) behind `tokens` (B). Row b continues prompt origins[b], of which prompt_lengths[b] tokens are in `prompts`, and has
 * `count` tokens in `own`; its new one goes there. scratch: B (3 d + (H + 2K) D + 3 f) numbers. */
void decode_step(int threads, const Decoder *m, int64_t B, const int64_t *tokens, const int64_t *origins,
                 const int64_t *prompt_lengths, int64_t count, const Cache *prompts, const Cache *own, acc *logits, acc *scratch) {
    int64_t d = m->width, H = m->heads, K = m->kv_heads, D = m->head_width, f = m->inner, all = (H + 2 * K) * D;
    int64_t up = m->gated ? 2 * f : f;
    acc *x = scratch, *n = x + B * d, *mixed = n + B * d, *qkv = mixed + B * d, *wide = qkv + B * all, *hidden = wide + B * 2 * f;
#pragma omp parallel num_threads(threads)
    {
        acc weights[prompts->room + own->room];
#pragma omp for
        for (int64_t b = 0; b < B; b++) {
            const acc *from = m->embedding + tokens[b] * d;
            const acc *at = m->position ? m->position + (prompt_lengths[b] + count) * d : NULL;
            for (int64_t i = 0; i < d; i++) x[b * d + i] = from[i] + (at ? at[i] : 0);
        }
        for (int64_t layer = 0; layer < m->layers; layer++) {
            const real *const *matrix = m->matrices + 4 * layer;
#pragma omp for
            for (int64_t b = 0; b < B; b++)
                norm_row(d, x + b * d, m->norm_weights[2 * layer], m->norm_biases[2 * layer], m->epsilon, n + b * d);
            product(B, d, all, matrix[0], n, qkv, 0);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < B; b++) append(m, own, layer, b, count, prompt_lengths[b] + count, qkv + b * all);
#pragma omp for
            for (int64_t at = 0; at < B * H; at++) {
                int64_t b = at / H, h = at % H, kv = h / (H / K);
                look(D, qkv + b * all + h * D, seen_by(m, prompts, layer, origins[b], kv, prompt_lengths[b]),
                     seen_by(m, own, layer, b, kv, count + 1), m->slopes ? m->slopes[h] : 0, weights, mixed + b * d + h * D);
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

/* One token of each row of logits (B, V): of its `kept` largest, equal ones in order of their index, falling, the one whose share of
 * the cumulated probability at `temperature` covers the row's uniform number. Without numbers, the largest. */
void choose(int threads, int64_t B, int64_t V, const acc *logits, double temperature, int64_t kept, const double *uniforms,
            int64_t *tokens) {
    if (!uniforms) kept = 1;
#pragma omp parallel num_threads(threads)
    {
        acc values[kept + 1];
        int64_t places[kept + 1], begin, end;
        share(B, &begin, &end);
        for (int64_t b = begin; b < end; b++) {
            const acc *row = logits + b * V;
            int64_t count = 0;
            acc least = -INFINITY; /* of those that are kept, once they are all there */
            for (int64_t first = 0; first < V; first += 64) {
                int64_t last = first + 64 < V ? first + 64 : V;
                int any = count < kept;
#pragma omp simd reduction(| : any)
                for (int64_t j = first; j < last; j++) any |= row[j] > least;
                for (int64_t j = first; any && j < last; j++) {
                    if (count == kept && !(row[j] > least)) continue;
                    int64_t at = count < kept ? count++ : kept - 1;
                    for (; at > 0 && values[at - 1] < row[j]; at--) {
                        values[at] = values[at - 1];
                        places[at] = places[at - 1];
                    }
                    values[at] = row[j];
                    places[at] = j;
                    if (count == kept) least = values[kept - 1];
                }
            }
            int64_t chosen = 0;
            if (uniforms) {
                double total = 0, sum = 0;
                for (int64_t j = 0; j < count; j++) total += exp(((double)values[j] - (double)values[0]) / temperature);
                for (int64_t j = 0; j < count; j++) {
                    sum += exp(((double)values[j] - (double)values[0]) / temperature);
                    chosen = j;
                    if (sum > uniforms[b] * total) break;
                }
            }
            tokens[b] = places[chosen];
        }
    }
}
