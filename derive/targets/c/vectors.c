/* ---- the fixed part: vectors, functions of vectors, products */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef FLOAT32
typedef float real;
typedef int32_t whole;
#define NAME(name) name##_float32
#else
typedef double real;
typedef int64_t whole;
#define NAME(name) name##_float64
#endif

#ifndef VECTOR_BYTES
#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

/* a panel of a product is so many vectors wide; so many rows of it are computed at a time, as the registers allow, and so many terms,
   as the nearest cache allows */
#if defined __AVX512F__ || defined __aarch64__
enum { ACROSS = 4, DOWN = 6, DEPTH = 128 };
#else
enum { ACROSS = 2, DOWN = 6, DEPTH = 256 };
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef whole mask __attribute__((vector_size(VECTOR_BYTES)));
typedef vec anywhere __attribute__((aligned(sizeof(real)), may_alias)); /* a vector in memory, wherever it begins */
enum { LANES = VECTOR_BYTES / sizeof(real), WIDTH = ACROSS * LANES };

#define INLINE static inline __attribute__((always_inline, unused))
#define HELPER static __attribute__((unused))
#define R(number) ((real)(number))

/* a loop of a few turns, which becomes a line of statements: what it counts through lies in registers then */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* panels of a product go to several threads where there are some and work enough for them; who computes one changes no bit of it */
static int threads = 1;
enum { MANY = 1 << 18 };
#ifdef _OPENMP
#define PRAGMA(text) _Pragma(#text)
#define SHARED(work) PRAGMA(omp parallel for schedule(static) num_threads(threads) if (threads > 1 && (work) > MANY))
#else
#define SHARED(work)
#endif

/* every function of vectors is put in where it is called: how it would hand them over doesn't matter */
#pragma GCC diagnostic ignored "-Wpsabi"

/* the same number in all lanes */
INLINE vec splat(real number) { return number - (vec){0}; }

/* a where the mask is set, else b */
INLINE vec either(mask where, vec a, vec b) { return (vec)((mask)b ^ (where & ((mask)a ^ (mask)b))); }

/* some numbers that lie one after the other, zeros behind them */
INLINE vec load(const real *from, ptrdiff_t count) {
    if (__builtin_expect(count >= LANES, 1)) return *(const anywhere *)from;
    vec v = {0};
    for (ptrdiff_t k = 0; k < count; k++) v[k] = from[k];
    return v;
}

INLINE void store(real *to, vec v, ptrdiff_t count) {
    if (__builtin_expect(count >= LANES, 1)) *(anywhere *)to = v;
    else for (ptrdiff_t k = 0; k < count; k++) to[k] = v[k];
}

/* the same of numbers that lie `stride` apart */
INLINE vec gather(const real *from, ptrdiff_t stride, ptrdiff_t count) {
    vec v = {0};
    for (ptrdiff_t k = 0; k < (count < LANES ? count : LANES); k++) v[k] = from[k * stride];
    return v;
}

INLINE void scatter(real *to, ptrdiff_t stride, vec v, ptrdiff_t count) {
    for (ptrdiff_t k = 0; k < (count < LANES ? count : LANES); k++) to[k * stride] = v[k];
}

/* the sum of the first lanes */
INLINE real across(vec v, ptrdiff_t count) {
    real sum = 0;
    for (ptrdiff_t k = 0; k < (count < LANES ? count : LANES); k++) sum += v[k];
    return sum;
}

/* x held between two ends; nan stays nan */
INLINE vec held(vec x, real low, real high) { return either(x > high, splat(high), either(x < low, splat(low), x)); }

/* exp(x) = 2^n (1 + rest), with x = n log 2 + r and |r| <= log(2)/2: (rest, n) of an x that isn't beyond MOST */
typedef struct { vec rest; mask n; } parts;
#ifdef FLOAT32
enum { MOST = 150, BIAS = 127, DIGITS = 23 };
#else
enum { MOST = 800, BIAS = 1023, DIGITS = 52 };
#endif
INLINE parts powers(vec x) {
#ifdef FLOAT32
    const real high = 0x1.62e4p-1f, low = 0x1.7f7d1cp-20f, magic = 0x1.8p23f, inverse = 0x1.715476p0f;
    static const real taylor[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, .5f};
#else
    const real high = 0x1.62e42fefap-1, low = 0x1.cf79abc9e3b39p-40, magic = 0x1.8p52, inverse = 0x1.71547652b82fep0;
    static const real taylor[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320,
                                  1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, .5};
#endif
    const vec shifted = x * inverse + magic, n = shifted - magic, r = (x - n * high) - n * low, square = r * r;
    vec q = taylor[0] * r + taylor[1];
    UNROLL for (int k = 2; k < (int)(sizeof taylor / sizeof *taylor); k += 2) q = q * square + (taylor[k] * r + taylor[k + 1]);
    return (parts){r + square * q, (mask)shifted - (mask)splat(magic)};
}

/* 2^n, n within the range of exponents */
INLINE vec power_of_2(mask n) { return (vec)((n + BIAS) << DIGITS); }

INLINE vec exponential(vec x) {
    const parts p = powers(held(x, -MOST, MOST));
    const mask half = p.n >> 1;
    const vec scale = power_of_2(half);
    return (scale + scale * p.rest) * power_of_2(p.n - half);
}

/* exp(x) - 1, without a loss of digits where x is small */
INLINE vec exponential_less_1(vec x) {
    const parts p = powers(held(x, -MOST, MOST));
    const mask half = p.n >> 1;
    const vec scale = power_of_2(half), more = power_of_2(p.n - half), whole_scale = scale * more;
    return either(x < 50, whole_scale * p.rest + (whole_scale - 1), (scale + scale * p.rest) * more - 1);
}

/* the sign of each lane, of -0, too, and a lane without it */
INLINE mask sign_of(vec x) { return (mask)x & (mask)splat(-R(0)); }
INLINE vec magnitude(vec x) { return (vec)((mask)x & ~(mask)splat(-R(0))); }

INLINE vec sigma(vec x) { return R(1) / (R(1) + exponential(-x)); }

INLINE vec hyperbolic_tangent(vec x) {
    const vec size = magnitude(x);
    const parts p = powers(R(2) * either(size > 22, splat(22), size));
    const vec scale = power_of_2(p.n), e = scale * p.rest + (scale - 1);
    return (vec)((mask)(e / (e + 2)) | sign_of(x));
}

INLINE vec relu(vec x) { return either(x <= 0, splat(0), x); }
INLINE vec step(vec x) { return either(x > 0, splat(1), either(x <= 0, splat(0), x)); }
INLINE vec sign(vec x) { return either(x > 0, splat(1), either(x < 0, splat(-1), x)); }
INLINE vec elu(vec x) { return either(x > 0, x, exponential_less_1(either(x > 0, splat(0), x))); }
INLINE vec hardtanh(vec x) { return held(x, -1, 1); }
INLINE vec softsign(vec x) { return x / (1 + magnitude(x)); }

/* the larger and the smaller one, of equals the first; nan on either side gives nan */
INLINE vec maximum(vec a, vec b) { return either((a >= b) | (a != a), a, b); }
INLINE vec minimum(vec a, vec b) { return either((a <= b) | (a != a), a, b); }
INLINE vec at_least(vec a, vec b) { return either((a != a) | (b != b), a + b, either(a >= b, splat(1), splat(0))); }
INLINE vec above(vec a, vec b) { return either((a != a) | (b != b), a + b, either(a > b, splat(1), splat(0))); }

/* functions of the library, lane by lane */
INLINE vec by_lane(double function(double), vec x, ptrdiff_t count) {
    vec y = {0};
    for (ptrdiff_t k = 0; k < (count < LANES ? count : LANES); k++) y[k] = (real)function((double)x[k]);
    return y;
}
HELPER double softplus_of(double x) { return (x > 0 ? x : 0 * x) + log1p(exp(x > 0 ? -x : x)); }
HELPER double log_or_zero_of(double x) { return x == 0 ? 0 : log(x); }
HELPER double inverse_or_zero_of(double x) { return x == 0 ? 0 : 1 / x; }
INLINE vec power(vec x, double exponent, ptrdiff_t count) {
    vec y = {0};
    for (ptrdiff_t k = 0; k < (count < LANES ? count : LANES); k++) y[k] = (real)pow((double)x[k], exponent);
    return y;
}
