/* Number formats, functions and dropout of the kernels. REAL_BITS is 16 (bfloat16), 32 or 64; sums are float, or double with 64. */

#pragma once

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if REAL_BITS == 16
typedef uint16_t real;
typedef float acc;
static inline acc load(real x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline real store(acc x) { /* to the nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (real)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}
#elif REAL_BITS == 32
typedef float real;
typedef float acc;
static inline acc load(real x) { return x; }
static inline real store(acc x) { return x; }
#else
typedef double real;
typedef double acc;
static inline acc load(real x) { return x; }
static inline real store(acc x) { return x; }
#endif

#if REAL_BITS == 64
static inline acc exponential(acc x) { return exp(x); }
static inline acc error_function(acc x) { return erf(x); }
#else
/* e^x within 2 units in the last place: Cody and Waite's reduction by ln 2, then a polynomial of degree 6 (Cephes, expf).
 * Without a branch, or compilers would not make vectors of it: the exponent is held in 0 to 255 by masks. */
static inline acc exponential(acc x) {
    float whole = rintf(x * 1.44269504088896341f);
    float r = x - whole * 0.693359375f;
    r -= whole * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t exponent = (int32_t)whole + 127;
    exponent &= ~(exponent >> 31);
    int32_t over = (254 - exponent) >> 31;
    exponent = (exponent & ~over) | (255 & over);
    int32_t bits = exponent << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return p * scale;
}
/* Within 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26. */
static inline acc error_function(acc x) {
    float size = fabsf(x);
    float t = 1.0f / (1.0f + 0.3275911f * size);
    float p = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
    float y = 1.0f - p * exponential(-size * size);
    return copysignf(y, x);
}
#endif

/* Kind 0 is GELU (with the error function), 1 is SiLU. */
static inline acc activate(int kind, acc x) {
    if (kind == 0) return (acc)0.5 * x * (1 + error_function(x * (acc)0.70710678118654752));
    return x / (1 + exponential(-x));
}

/* Of a row of d numbers: the mean, which is 0 where the norm does not centre, and 1 / deviation. */
typedef struct {
    acc mean, inverse;
} Statistics;

static inline Statistics statistics(int64_t d, const acc *x, int centres, double epsilon) {
    acc mean = 0, square = 0;
    if (centres) {
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < d; i++) mean += x[i];
        mean /= (acc)d;
    }
#pragma omp simd reduction(+ : square)
    for (int64_t i = 0; i < d; i++) square += (x[i] - mean) * (x[i] - mean);
    Statistics found = {mean, (acc)(1.0 / sqrt((double)square / (double)d + epsilon))};
    return found;
}

/* 32 random bits of an element: the finaliser of MurmurHash3, once with each key. */
static inline uint32_t random_bits(uint32_t index, uint32_t key0, uint32_t key1) {
    uint32_t h = index + key0;
    h ^= h >> 16; h *= 0x85EBCA6Bu; h ^= h >> 13; h *= 0xC2B2AE35u; h ^= h >> 16;
    h ^= key1;
    h ^= h >> 16; h *= 0x85EBCA6Bu; h ^= h >> 13; h *= 0xC2B2AE35u; h ^= h >> 16;
    return h;
}

/* `below`: an element is dropped when its random bits are less. `scale`: 1 / (1 - p). Element 0 has index `first`. */
typedef struct {
    uint32_t below, key0, key1, first;
    double scale;
} Dropout;

static inline acc kept(const Dropout *drop, acc scale, uint32_t index) {
    return random_bits(index + drop->first, drop->key0, drop->key1) < drop->below ? 0 : scale;
}

/* The share of `count` rows that is this thread's. */
static inline void share(int64_t count, int64_t *begin, int64_t *end) {
    int64_t threads = omp_get_num_threads(), me = omp_get_thread_num();
    *begin = count * me / threads;
    *end = count * (me + 1) / threads;
}
