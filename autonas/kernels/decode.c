/* Tokens of some sequences behind caches of keys and values: a whole pass in one call, products included.
 *
 * Shapes: N tokens, d width, f inner width, H query heads, K key-value heads, D width of a head, V vocabulary. Of each head, keys
 * lie as (D, room) and values as (room, D filled up to whole vectors), so that both are read in vectors; room is in whole
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
    Statistics row = statistics(d, x, bias != NULL, epsilon);
    acc mean = row.mean, inverse = row.inverse;
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
#define ROWS_BLOCK 64
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

/* panels = matrix (outputs, inputs). In blocks of BLOCK inputs: rows that are a power of two apart share the places of a cache. */
#define BLOCK 16
void pack(int threads, int64_t inputs, int64_t outputs, const real *matrix, real *panels) {
#pragma omp parallel for num_threads(threads)
    for (int64_t first = 0; first < outputs; first += PANEL) {
        int64_t count = outputs - first < PANEL ? outputs - first : PANEL;
        real *panel = panels + first * inputs;
        for (int64_t begin = 0; begin < inputs; begin += BLOCK) {
            int64_t end = begin + BLOCK < inputs ? begin + BLOCK : inputs;
            for (int64_t o = 0; o < PANEL; o++)
                for (int64_t i = begin; i < end; i++) panel[i * PANEL + o] = o < count ? matrix[(first + o) * inputs + i] : (real)0;
        }
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

/* y (B, outputs) = x (B, inputs) times the transposed matrix in panels, or added to y. Threads share panels, and rows by blocks. */
static void product(int64_t B, int64_t inputs, int64_t outputs, const real *panels, const acc *x, acc *y, int add) {
    int64_t blocks = (B + ROWS_BLOCK - 1) / ROWS_BLOCK, begin, end;
    share((outputs + PANEL - 1) / PANEL * blocks, &begin, &end);
    for (int64_t number = begin; number < end; number++) {
        int64_t first = number / blocks * PANEL, count = outputs - first < PANEL ? outputs - first : PANEL;
        int64_t b = number % blocks * ROWS_BLOCK, last = b + ROWS_BLOCK < B ? b + ROWS_BLOCK : B;
        const real *panel = panels + first * inputs;
        for (; b + 4 <= last; b += 4) TILE(4)
        if (b + 2 <= last) {
            TILE(2)
            b += 2;
        }
        if (b < last) TILE(1)
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

/* weights (count) = scale times q by keys (D, room). Four vectors at a time: one alone would wait for its own sum. */
static void score(int64_t D, int64_t room, int64_t count, const acc *q, const real *keys, acc scale, acc *weights) {
    int64_t j = 0;
    for (; j + 3 * LANES < count; j += 4 * LANES) {
        vec dots[4] = {{0}, {0}, {0}, {0}};
        for (int64_t i = 0; i < D; i++)
            for (int c = 0; c < 4; c++) dots[c] += q[i] * load_vec(keys + i * room + j + c * LANES);
        for (int c = 0; c < 4; c++) dots[c] *= scale;
        int64_t left = count - j < 4 * LANES ? count - j : 4 * LANES;
        memcpy(weights + j, dots, sizeof(acc) * (size_t)left);
    }
    for (; j < count; j += LANES) {
        vec even = {0}, odd = {0};
        int64_t i = 0;
        for (; i + 2 <= D; i += 2) {
            even += q[i] * load_vec(keys + i * room + j);
            odd += q[i + 1] * load_vec(keys + (i + 1) * room + j);
        }
        if (i < D) even += q[i] * load_vec(keys + i * room + j);
        vec dots = (even + odd) * scale;
        int64_t left = count - j < LANES ? count - j : LANES;
        memcpy(weights + j, &dots, sizeof(acc) * (size_t)left);
    }
}

/* The sum of values (room, padded D) by weights (count), of the vector of columns that begins at i. */
static inline vec gather(int64_t D, int64_t count, const acc *weights, const real *values, int64_t i) {
    int64_t wide = padded(D), j = 0;
    vec sums[4] = {{0}, {0}, {0}, {0}};
    for (; j + 4 <= count; j += 4)
        for (int c = 0; c < 4; c++) sums[c] += weights[j + c] * load_vec(values + (j + c) * wide + i);
    for (; j < count; j++) sums[0] += weights[j] * load_vec(values + j * wide + i);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
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

/* A token: it goes to slot `slot` of row `row` of its own cache, behind `before` tokens of row `origin` of the prompts' cache. */
typedef struct {
    int64_t id, row, slot, origin, before;
} Token;

/* Rotate queries and keys of a token's qkv by its position, and put its keys and values into its slot. */
static void append(const Decoder *m, const Cache *own, int64_t layer, const Token *token, acc *qkv) {
    int64_t H = m->heads, K = m->kv_heads, D = m->head_width, room = own->room, wide = padded(D);
    int64_t position = token->before + token->slot;
    const acc *cosine = m->cosine + position * (D / 2), *sine = m->sine + position * (D / 2);
    for (int64_t h = 0; m->cosine && h < H + K; h++) rotate_row(D, qkv + h * D, cosine, sine);
    for (int64_t h = 0; h < K; h++) {
        const acc *k = qkv + (H + h) * D, *v = qkv + (H + K + h) * D;
        int64_t at = (layer * own->rows + token->row) * K + h;
        real *key = own->keys + at * D * room + token->slot, *value = own->values + (at * room + token->slot) * wide;
        for (int64_t i = 0; i < D; i++) {
            key[i * room] = store(k[i]);
            value[i] = store(v[i]);
        }
    }
}

/* Hidden units (n, f) of `wide` (n, f), or of gates and values (n, 2 f). */
static void feed(const Decoder *m, int64_t n, const acc *wide, acc *hidden) {
    int64_t f = m->inner, up = m->gated ? 2 * f : f;
#pragma omp for
    for (int64_t b = 0; b < n; b++) {
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
}

/* Read `tokens` (N), a sequence's in order, and write the logits (W, V) behind those numbered `wanted` (W), rising. What nobody wants
 * of the last layer is not computed. scratch: N (3 d + (H + 2K) D + 3 f) numbers. */
void read_tokens(int threads, const Decoder *m, int64_t N, const Token *tokens, const Cache *prompts, const Cache *own, int64_t W,
                 const int64_t *wanted, acc *logits, acc *scratch) {
    int64_t d = m->width, H = m->heads, K = m->kv_heads, D = m->head_width, f = m->inner, all = (H + 2 * K) * D;
    acc *x = scratch, *n = x + N * d, *mixed = n + N * d, *qkv = mixed + N * d, *wide = qkv + N * all, *hidden = wide + N * 2 * f;
#pragma omp parallel num_threads(threads)
    {
        acc weights[prompts->room + own->room];
#pragma omp for
        for (int64_t b = 0; b < N; b++) {
            const acc *from = m->embedding + tokens[b].id * d;
            const acc *at = m->position ? m->position + (tokens[b].before + tokens[b].slot) * d : NULL;
            for (int64_t i = 0; i < d; i++) x[b * d + i] = from[i] + (at ? at[i] : 0);
        }
        for (int64_t layer = 0; layer < m->layers; layer++) {
            const real *const *matrix = m->matrices + 4 * layer;
            int64_t chosen = layer < m->layers - 1 ? N : W;
#pragma omp for
            for (int64_t b = 0; b < N; b++)
                norm_row(d, x + b * d, m->norm_weights[2 * layer], m->norm_biases[2 * layer], m->epsilon, n + b * d);
            product(N, d, all, matrix[0], n, qkv, 0);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < N; b++) append(m, own, layer, tokens + b, qkv + b * all);
            if (chosen < N) {
#pragma omp single
                for (int64_t w = 0; w < W; w++) memmove(x + w * d, x + wanted[w] * d, sizeof(acc) * (size_t)d);
            }
#pragma omp for schedule(dynamic, 8)
            for (int64_t at = 0; at < chosen * H; at++) {
                int64_t b = chosen < N ? wanted[at / H] : at / H, h = at % H, kv = h / (H / K);
                const Token *token = tokens + b;
                look(D, qkv + b * all + h * D, seen_by(m, prompts, layer, token->origin, kv, token->before),
                     seen_by(m, own, layer, token->row, kv, token->slot + 1), m->slopes ? m->slopes[h] : 0, weights, mixed + at * D);
            }
            product(chosen, d, d, matrix[1], mixed, x, 1);
#pragma omp barrier
#pragma omp for
            for (int64_t b = 0; b < chosen; b++)
                norm_row(d, x + b * d, m->norm_weights[2 * layer + 1], m->norm_biases[2 * layer + 1], m->epsilon, n + b * d);
            product(chosen, d, m->gated ? 2 * f : f, matrix[2], n, wide, 0);
#pragma omp barrier
            feed(m, chosen, wide, hidden);
            product(chosen, f, d, matrix[3], hidden, x, 1);
#pragma omp barrier
        }
#pragma omp for
        for (int64_t b = 0; b < W; b++)
            norm_row(d, x + b * d, m->norm_weights[2 * m->layers], m->norm_biases[2 * m->layers], m->epsilon, n + b * d);
        product(W, d, m->vocabulary, m->head, n, logits, 0);
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
