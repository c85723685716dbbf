/* What lies between the matrix products of a pass over many tokens, each a single pass over its data.
 *
 * Compiled once per machine by build.py, for one type of activations: REAL_BITS 16 (bfloat16), 32 or 64. Sums, statistics, the
 * residual stream and the master weights are `acc`: float, or double with 64 bits. Matrices are row-major without gaps.
 * Shapes: N = B * T rows, d width, f inner width, H query heads, K key-value heads, G = H / K, D width of a head, V vocabulary.
 *
 * Rows are dealt to threads in fixed shares and partial sums are added in order of the threads: the same numbers every time, for
 * the same number of threads. Dropout has no state: a mask is a function of two keys and the element's index, and is made anew
 * for the backward pass.
 */

#include "common.h"

/* x (N, d) = embedding (V, d) of `tokens`, plus position (T, d) where there is one. */
void embed(int threads, int64_t N, int64_t T, int64_t d, const int64_t *tokens, const acc *embedding, const acc *position, acc *x) {
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(N, &begin, &end);
        for (int64_t row = begin; row < end; row++) {
            const acc *from = embedding + tokens[row] * d;
            if (position) {
                const acc *at = position + (row % T) * d;
                for (int64_t i = 0; i < d; i++) x[row * d + i] = from[i] + at[i];
            } else {
                memcpy(x + row * d, from, sizeof(acc) * (size_t)d);
            }
        }
    }
}

/* Adds the gradient of the stream to that of the embedding (V, d) and of the positions (T, d). */
void embed_backward(int threads, int64_t N, int64_t T, int64_t d, const int64_t *tokens, const acc *g, acc *embedding, acc *position) {
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end; /* columns: two threads never add to the same number */
        share(d, &begin, &end);
        for (int64_t row = 0; row < N; row++) {
            acc *to = embedding + tokens[row] * d;
            for (int64_t i = begin; i < end; i++) to[i] += g[row * d + i];
            if (position) {
                acc *at = position + (row % T) * d;
                for (int64_t i = begin; i < end; i++) at[i] += g[row * d + i];
            }
        }
    }
}

/* y = x + dropout(h), and n = norm(y) (N, d). Without h, y is not written and is x. With a bias it is LayerNorm, else RMSNorm.
 * stats (N, 2): mean and 1 / deviation of each row. */
void add_norm(int threads, int64_t N, int64_t d, const acc *x, const real *h, acc *y, const acc *weight, const acc *bias,
              double epsilon, real *n, acc *stats, const Dropout *drop) {
    acc scale = (acc)drop->scale;
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(N, &begin, &end);
        for (int64_t row = begin; row < end; row++) {
            const acc *in = x + row * d;
            if (h) {
                const real *add = h + row * d;
                acc *out = y + row * d;
                if (drop->below) {
                    uint32_t index = (uint32_t)(row * d);
#pragma omp simd
                    for (int64_t i = 0; i < d; i++) out[i] = in[i] + load(add[i]) * kept(drop, scale, index + (uint32_t)i);
                } else {
#pragma omp simd
                    for (int64_t i = 0; i < d; i++) out[i] = in[i] + load(add[i]);
                }
                in = out;
            }
            Statistics row_statistics = statistics(d, in, bias != NULL, epsilon);
            acc mean = row_statistics.mean, inverse = row_statistics.inverse;
            real *to = n + row * d;
            if (bias) {
#pragma omp simd
                for (int64_t i = 0; i < d; i++) to[i] = store((in[i] - mean) * inverse * weight[i] + bias[i]);
            } else {
#pragma omp simd
                for (int64_t i = 0; i < d; i++) to[i] = store(in[i] * inverse * weight[i]);
            }
            stats[2 * row] = mean;
            stats[2 * row + 1] = inverse;
        }
    }
}

/* The gradient dn (N, d) of a norm's output, carried into that of the stream g (added, or written when `first`), of its weight
 * and bias (d, added); and dh, the gradient of what was added to the stream before the norm, where it is asked for.
 * scratch: (threads, 2, d). */
void norm_backward(int threads, int64_t N, int64_t d, const real *dn, const acc *x, const acc *stats, const acc *weight,
                   acc *dweight, acc *dbias, acc *g, int first, real *dh, const Dropout *drop, acc *scratch) {
    acc scale = (acc)drop->scale;
    memset(scratch, 0, sizeof(acc) * (size_t)(2 * d) * (size_t)threads);
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(N, &begin, &end);
        acc *dw = scratch + 2 * d * omp_get_thread_num(), *db = dw + d;
        for (int64_t row = begin; row < end; row++) {
            const real *up = dn + row * d;
            const acc *in = x + row * d;
            acc *out = g + row * d;
            acc mean = stats[2 * row], inverse = stats[2 * row + 1];
            acc sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
            for (int64_t i = 0; i < d; i++) {
                acc dy = load(up[i]), normal = (in[i] - mean) * inverse;
                sum += dy * weight[i];
                dot += dy * weight[i] * normal;
                dw[i] += dy * normal;
            }
            dot /= (acc)d;
            sum /= (acc)d;
            if (dbias) {
#pragma omp simd
                for (int64_t i = 0; i < d; i++) db[i] += load(up[i]);
            } else {
                sum = 0;
            }
            if (first) memset(out, 0, sizeof(acc) * (size_t)d);
#pragma omp simd
            for (int64_t i = 0; i < d; i++)
                out[i] += inverse * (load(up[i]) * weight[i] - sum - (in[i] - mean) * inverse * dot);
            if (dh && drop->below) {
                uint32_t index = (uint32_t)(row * d);
#pragma omp simd
                for (int64_t i = 0; i < d; i++) dh[row * d + i] = store(out[i] * kept(drop, scale, index + (uint32_t)i));
            } else if (dh) {
#pragma omp simd
                for (int64_t i = 0; i < d; i++) dh[row * d + i] = store(out[i]);
            }
        }
    }
    for (int thread = 0; thread < threads; thread++) {
        const acc *dw = scratch + 2 * d * thread;
        for (int64_t i = 0; i < d; i++) dweight[i] += dw[i];
        if (dbias)
            for (int64_t i = 0; i < d; i++) dbias[i] += dw[d + i];
    }
}

/* One head's row of D numbers, times `scale`, and rotated by its position's angle when there are tables; `sign` -1 turns back. */
static inline void turn(int64_t D, const real *in, real *out, const acc *cosine, const acc *sine, acc sign, acc scale) {
    if (cosine) {
        int64_t half = D / 2;
#pragma omp simd
        for (int64_t i = 0; i < half; i++) {
            acc a = load(in[i]) * scale, b = load(in[i + half]) * scale, c = cosine[i], s = sine[i] * sign;
            out[i] = store(a * c - b * s);
            out[i + half] = store(b * c + a * s);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < D; i++) out[i] = store(load(in[i]) * scale);
    }
}

/* qkv (B, T, H + 2K, D) to q (B, H, T, D), scaled, and k, v (B, K, T, D), q and k rotated. cosine, sine (T, D / 2) or NULL. */
void split_heads(int threads, int64_t B, int64_t T, int64_t H, int64_t K, int64_t D, const real *qkv, real *q, real *k, real *v,
                 const acc *cosine, const acc *sine, double scale) {
    int64_t all = H + 2 * K;
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(B * T, &begin, &end);
        for (int64_t row = begin; row < end; row++) {
            int64_t b = row / T, t = row % T;
            const acc *c = cosine ? cosine + t * (D / 2) : NULL, *s = sine ? sine + t * (D / 2) : NULL;
            const real *in = qkv + row * all * D;
            for (int64_t h = 0; h < H; h++) turn(D, in + h * D, q + ((b * H + h) * T + t) * D, c, s, 1, (acc)scale);
            for (int64_t h = 0; h < K; h++) turn(D, in + (H + h) * D, k + ((b * K + h) * T + t) * D, c, s, 1, 1);
            for (int64_t h = 0; h < K; h++)
                memcpy(v + ((b * K + h) * T + t) * D, in + (H + K + h) * D, sizeof(real) * (size_t)D);
        }
    }
}

/* The gradients of q, k and v, back into that of qkv: `split_heads` backwards. */
void split_heads_backward(int threads, int64_t B, int64_t T, int64_t H, int64_t K, int64_t D, const real *q, const real *k,
                          const real *v, real *qkv, const acc *cosine, const acc *sine, double scale) {
    int64_t all = H + 2 * K;
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(B * T, &begin, &end);
        for (int64_t row = begin; row < end; row++) {
            int64_t b = row / T, t = row % T;
            const acc *c = cosine ? cosine + t * (D / 2) : NULL, *s = sine ? sine + t * (D / 2) : NULL;
            real *out = qkv + row * all * D;
            for (int64_t h = 0; h < H; h++) turn(D, q + ((b * H + h) * T + t) * D, out + h * D, c, s, -1, (acc)scale);
            for (int64_t h = 0; h < K; h++) turn(D, k + ((b * K + h) * T + t) * D, out + (H + h) * D, c, s, -1, 1);
            for (int64_t h = 0; h < K; h++)
                memcpy(out + (H + K + h) * D, v + ((b * K + h) * T + t) * D, sizeof(real) * (size_t)D);
        }
    }
}

/* from (B, P, Q, D) to (B, Q, P, D): heads behind rows, or rows behind heads. */
void swap_heads(int threads, int64_t B, int64_t P, int64_t Q, int64_t D, const real *from, real *to) {
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(B * P, &begin, &end);
        for (int64_t row = begin; row < end; row++) {
            int64_t b = row / P, p = row % P;
            for (int64_t q = 0; q < Q; q++)
                memcpy(to + ((b * Q + q) * P + p) * D, from + (row * Q + q) * D, sizeof(real) * (size_t)D);
        }
    }
}

/* Scores (R heads, T, T) to causal attention weights, in place: the keys behind a query get 0. `slopes` (H) of ALiBi, or NULL.
 * The weights after dropout go to `dropped`, where there is dropout. */
void attention_weights(int threads, int64_t R, int64_t H, int64_t T, real *scores, const acc *slopes, real *dropped,
                       const Dropout *drop) {
    acc scale = (acc)drop->scale;
#pragma omp parallel num_threads(threads)
    {
        acc row[T];
        /* Late rows are longer: each thread takes whole heads, or every so many-th row. */
        int64_t all = R * T, step = omp_get_num_threads();
        for (int64_t at = omp_get_thread_num(); at < all; at += step) {
            int64_t t = at % T, keys = t + 1;
            real *s = scores + at * T;
            acc slope = slopes ? slopes[(at / T) % H] : 0, top = -INFINITY, sum = 0;
#pragma omp simd reduction(max : top)
            for (int64_t j = 0; j < keys; j++) {
                row[j] = load(s[j]) + slope * (acc)(j - t);
                top = row[j] > top ? row[j] : top;
            }
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < keys; j++) {
                row[j] = exponential(row[j] - top);
                sum += row[j];
            }
            acc inverse = 1 / sum;
#pragma omp simd
            for (int64_t j = 0; j < keys; j++) s[j] = store(row[j] * inverse);
            memset(s + keys, 0, sizeof(real) * (size_t)(T - keys));
            if (drop->below) {
                real *to = dropped + at * T;
                uint32_t index = (uint32_t)(at * T);
#pragma omp simd
                for (int64_t j = 0; j < keys; j++) to[j] = store(row[j] * inverse * kept(drop, scale, index + (uint32_t)j));
                memset(to + keys, 0, sizeof(real) * (size_t)(T - keys));
            }
        }
    }
}

/* The gradient g (R, T, T) of the weights after dropout to that of the scores, in place; and those weights again into `dropped`. */
void attention_weights_backward(int threads, int64_t R, int64_t T, const real *weights, real *g, real *dropped,
                                const Dropout *drop) {
    acc scale = (acc)drop->scale;
#pragma omp parallel num_threads(threads)
    {
        acc row[T];
        int64_t all = R * T, step = omp_get_num_threads();
        for (int64_t at = omp_get_thread_num(); at < all; at += step) {
            int64_t keys = at % T + 1;
            const real *p = weights + at * T;
            real *d = g + at * T;
            acc dot = 0;
            if (drop->below) {
                real *to = dropped + at * T;
                uint32_t index = (uint32_t)(at * T);
#pragma omp simd reduction(+ : dot)
                for (int64_t j = 0; j < keys; j++) {
                    acc mask = kept(drop, scale, index + (uint32_t)j), weight = load(p[j]);
                    row[j] = load(d[j]) * mask;
                    to[j] = store(weight * mask);
                    dot += weight * row[j];
                }
                memset(to + keys, 0, sizeof(real) * (size_t)(T - keys));
            } else {
#pragma omp simd reduction(+ : dot)
                for (int64_t j = 0; j < keys; j++) {
                    row[j] = load(d[j]);
                    dot += load(p[j]) * row[j];
                }
            }
#pragma omp simd
            for (int64_t j = 0; j < keys; j++) d[j] = store(load(p[j]) * (row[j] - dot));
            memset(d + keys, 0, sizeof(real) * (size_t)(T - keys));
        }
    }
}

/* The slope of `activate`. */
static inline acc slope_of(int kind, acc x) {
    if (kind == 0)
        return (acc)0.5 * (1 + error_function(x * (acc)0.70710678118654752)) +
               x * (acc)0.39894228040143268 * exponential((acc)-0.5 * x * x);
    acc s = 1 / (1 + exponential(-x));
    return s * (1 + x * (1 - s));
}

#define ACTIVATION(KIND, GATED, DROP)                                                                   \
    for (int64_t row = begin; row < end; row++) {                                                       \
        const real *in = u + row * (GATED ? 2 * f : f);                                                 \
        real *out = h + row * f;                                                                        \
        uint32_t index = (uint32_t)(row * f);                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < f; i++) {                                           \
            acc value = activate(KIND, load(in[i]));                                                    \
            if (GATED) value *= load(in[f + i]);                                                        \
            if (DROP) value *= kept(drop, scale, index + (uint32_t)i);                                  \
            out[i] = store(value);                                                                      \
        }                                                                                               \
    }

#define ACTIVATION_BACKWARD(KIND, GATED, DROP)                                                          \
    for (int64_t row = begin; row < end; row++) {                                                       \
        const real *in = u + row * (GATED ? 2 * f : f), *up = dh + row * f;                             \
        real *out = du + row * (GATED ? 2 * f : f);                                                     \
        uint32_t index = (uint32_t)(row * f);                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < f; i++) {                                           \
            acc g = load(up[i]), x = load(in[i]);                                                       \
            if (DROP) g *= kept(drop, scale, index + (uint32_t)i);                                      \
            if (GATED) {                                                                                \
                acc value = load(in[f + i]);                                                            \
                out[i] = store(g * value * slope_of(KIND, x));                                          \
                out[f + i] = store(g * activate(KIND, x));                                              \
            } else {                                                                                    \
                out[i] = store(g * slope_of(KIND, x));                                                  \
            }                                                                                           \
        }                                                                                               \
    }

#define FOR_EACH_KIND(BODY)                              \
    if (kind == 0 && gated && drop->below) BODY(0, 1, 1) \
    else if (kind == 0 && gated) BODY(0, 1, 0)           \
    else if (kind == 0 && drop->below) BODY(0, 0, 1)     \
    else if (kind == 0) BODY(0, 0, 0)                    \
    else if (gated && drop->below) BODY(1, 1, 1)         \
    else if (gated) BODY(1, 1, 0)                        \
    else if (drop->below) BODY(1, 0, 1)                  \
    else BODY(1, 0, 0)

/* h (N, f) = dropout(activation of u), u (N, f), or (N, 2f) when gated: the gate's f columns first. */
void activation(int threads, int64_t N, int64_t f, int kind, int gated, const real *u, real *h, const Dropout *drop) {
    acc scale = (acc)drop->scale;
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(N, &begin, &end);
        FOR_EACH_KIND(ACTIVATION)
    }
}

/* From dh (N, f) to du, which is like u; du may be u. */
void activation_backward(int threads, int64_t N, int64_t f, int kind, int gated, const real *u, const real *dh, real *du,
                         const Dropout *drop) {
    acc scale = (acc)drop->scale;
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(N, &begin, &end);
        FOR_EACH_KIND(ACTIVATION_BACKWARD)
    }
}

/* Smoothed cross-entropy of logits (N, V) and its gradient in their place, in one visit of each row.
 *
 * losses (N): log sum e^x - (1 - smoothing) x_target - smoothing mean(x), as in torch. The gradient is that of `weight` times
 * their sum. */
void cross_entropy(int threads, int64_t N, int64_t V, real *logits, const int64_t *targets, double smoothing, double weight,
                   acc *losses) {
    acc scale = (acc)weight, each = (acc)(weight * smoothing / (double)V), hit = (acc)(weight * (1.0 - smoothing));
#pragma omp parallel num_threads(threads)
    {
        acc row[V];
        int64_t begin, end;
        share(N, &begin, &end);
        for (int64_t at = begin; at < end; at++) {
            real *x = logits + at * V;
            acc top = -INFINITY, sum = 0, total = 0;
#pragma omp simd reduction(max : top) reduction(+ : total)
            for (int64_t j = 0; j < V; j++) {
                acc value = load(x[j]);
                total += value;
                top = value > top ? value : top;
            }
            acc aim = load(x[targets[at]]);
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < V; j++) {
                row[j] = exponential(load(x[j]) - top);
                sum += row[j];
            }
            acc factor = scale / sum;
#pragma omp simd
            for (int64_t j = 0; j < V; j++) x[j] = store(row[j] * factor - each);
            x[targets[at]] = store(row[targets[at]] * factor - each - hit);
            losses[at] = top + (acc)log((double)sum) - (acc)(1.0 - smoothing) * aim - (acc)smoothing * total / (acc)V;
        }
    }
}

/* g (n) += from, or = from when `first`. */
void accumulate(int threads, int64_t n, const real *from, acc *g, int first) {
#pragma omp parallel num_threads(threads)
    {
        int64_t begin, end;
        share(n, &begin, &end);
        if (first) {
#pragma omp simd
            for (int64_t i = begin; i < end; i++) g[i] = load(from[i]);
        } else {
#pragma omp simd
            for (int64_t i = begin; i < end; i++) g[i] += load(from[i]);
        }
    }
}
