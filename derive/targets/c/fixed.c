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

/* ---- products: c (+)= a b, of M rows, K terms and N columns; x_row and x_col say how far apart rows and columns of x lie */

/* so many rows or columns are packed at a time: they stay close while they go to several panels or tiles */
enum { SOME = 8 };

/* columns of b side by side as panels of WIDTH, row after row, zeros behind the last one */
HELPER void pack(ptrdiff_t K, ptrdiff_t N, const real *b, ptrdiff_t b_row, ptrdiff_t b_col, real *packed) {
    const ptrdiff_t some = b_col == 1 ? SOME : K;
    for (ptrdiff_t begin = 0; begin < K; begin += some) {
        const ptrdiff_t end = K - begin < some ? K : begin + some;
        for (ptrdiff_t first = 0; first < N; first += WIDTH) {
            const ptrdiff_t columns = N - first < WIDTH ? N - first : WIDTH;
            const real *from = b + first * b_col;
            real *to = packed + first * K;
            if (columns < WIDTH) memset(to + begin * WIDTH, 0, (size_t)((end - begin) * WIDTH) * sizeof(real));
            for (ptrdiff_t k = begin; k < end; k++)
                if (b_col == 1)
                    for (ptrdiff_t j = 0; j < columns; j += LANES)
                        store(to + k * WIDTH + j, load(from + k * b_row + j, columns - j), columns - j);
                else
                    for (ptrdiff_t j = 0; j < columns; j++) to[k * WIDTH + j] = from[k * b_row + j * b_col];
        }
    }
}

/* rows of a in tiles of DOWN, column after column; columns that lie side by side are fetched before their turn */
HELPER void pack_rows(ptrdiff_t M, ptrdiff_t K, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, real *packed) {
    const ptrdiff_t whole_tiles = M / DOWN * DOWN, some = a_row == 1 ? SOME : K;
    for (ptrdiff_t begin = 0; begin < K; begin += some) {
        const ptrdiff_t end = K - begin < some ? K : begin + some;
        for (ptrdiff_t k = end; k < end + some && k < K; k++)
            for (ptrdiff_t i = 0; i < M; i += 64 / (ptrdiff_t)sizeof(real)) __builtin_prefetch(a + i + k * a_col);
        for (ptrdiff_t i = 0; i < whole_tiles; i += DOWN) {
            const real *from = a + i * a_row;
            real *to = packed + i * K;
            if (a_row == 1)
                for (ptrdiff_t k = begin; k < end; k++) memcpy(to + k * DOWN, from + k * a_col, DOWN * sizeof(real));
            else
                for (ptrdiff_t k = begin; k < end; k++)
                    UNROLL for (int r = 0; r < DOWN; r++) to[k * DOWN + r] = from[r * a_row + k * a_col];
        }
        for (ptrdiff_t k = begin; k < end; k++)
            for (ptrdiff_t i = whole_tiles; i < M; i++) packed[whole_tiles * K + k * DOWN + i - whole_tiles] = a[i * a_row + k * a_col];
    }
}

/* how many numbers the panels take */
#define PACKED(K, N) ((K) * (((N) + WIDTH - 1) / WIDTH * WIDTH))

/* some rows of a panel: c = start + a b, start 0 where there is none. What is written at the
   end is fetched meanwhile, and what the next panel starts with */
INLINE void tile(int rows, ptrdiff_t K, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *panel,
                 const real *start, ptrdiff_t start_row, real *c, ptrdiff_t c_row, ptrdiff_t columns) {
    vec sum[DOWN][ACROSS];
    UNROLL for (int i = 0; i < rows; i++) {
        __builtin_prefetch(c + i * c_row, 1);
        if (start) __builtin_prefetch(start + i * start_row + WIDTH);
        UNROLL for (int v = 0; v < ACROSS; v++) sum[i][v] = splat(0);
    }
    for (ptrdiff_t k = 0; k < K; k++, panel += WIDTH, a += a_col) {
        vec b[ACROSS];
        UNROLL for (int v = 0; v < ACROSS; v++) b[v] = *(const anywhere *)(panel + v * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            const vec factor = splat(a[i * a_row]);
            UNROLL for (int v = 0; v < ACROSS; v++) sum[i][v] += factor * b[v];
        }
    }
    if (start)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < ACROSS; v++)
                if (columns > v * LANES) sum[i][v] += load(start + i * start_row + v * LANES, columns - v * LANES);
    if (columns >= WIDTH)
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < ACROSS; v++) *(anywhere *)(c + i * c_row + v * LANES) = sum[i][v];
    else
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int v = 0; v < ACROSS; v++)
                if (columns > v * LANES) store(c + i * c_row + v * LANES, sum[i][v], columns - v * LANES);
}

/* one row of a panel: terms are added in four sums, since an addition takes as long as four of them */
INLINE void row_tile(ptrdiff_t K, const real *a, ptrdiff_t a_col, const real *panel, const real *start, real *c, ptrdiff_t columns) {
    enum { SUMS = 4 };
    vec sum[SUMS][ACROSS];
    UNROLL for (int s = 0; s < SUMS; s++)
        UNROLL for (int v = 0; v < ACROSS; v++) sum[s][v] = splat(0);
    ptrdiff_t k = 0;
    for (; k + SUMS <= K; k += SUMS) {
        UNROLL for (int s = 0; s < SUMS; s++) {
            const vec factor = splat(a[(k + s) * a_col]);
            UNROLL for (int v = 0; v < ACROSS; v++) sum[s][v] += factor * *(const anywhere *)(panel + (k + s) * WIDTH + v * LANES);
        }
    }
    for (; k < K; k++)
        for (int v = 0; v < ACROSS; v++) sum[0][v] += a[k * a_col] * load(panel + k * WIDTH + v * LANES, LANES);
    for (int v = 0; v < ACROSS; v++)
        if (columns > v * LANES) {
            const vec total = (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]);
            store(c + v * LANES, start ? load(start + v * LANES, columns - v * LANES) + total : total, columns - v * LANES);
        }
}

/* so many rows of a panel, at most DOWN */
HELPER void rows_of_panel(ptrdiff_t rows, ptrdiff_t K, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *panel,
                          const real *start, ptrdiff_t start_row, real *c, ptrdiff_t c_row, ptrdiff_t columns) {
    switch (rows) {
    case 1: tile(1, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns); break;
    case 2: tile(2, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns); break;
    case 3: tile(3, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns); break;
    case 4: tile(4, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns); break;
    case 5: tile(5, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns); break;
    default: tile(6, K, a, a_row, a_col, panel, start, start_row, c, c_row, columns);
    }
}

/* c = start + a b of a b that is packed: some terms of a panel, which stay close, for all rows, in tiles as equal as may be */
HELPER void product_packed(ptrdiff_t M, ptrdiff_t K, ptrdiff_t N, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *packed,
                           const real *start, ptrdiff_t start_row, real *c, ptrdiff_t c_row) {
    SHARED(M * K * N)
    for (ptrdiff_t j = 0; j < N; j += WIDTH) {
        const real *panel = packed + j * K;
        if (M == 1) {
            row_tile(K, a, a_col, panel, start ? start + j : 0, c + j, N - j);
            continue;
        }
        for (ptrdiff_t k = 0; k < K || k == 0; k += DEPTH) {
            const ptrdiff_t depth = K - k < DEPTH ? K - k : DEPTH, from_row = k ? c_row : start_row;
            const real *from = k ? c : start;
            for (ptrdiff_t i = 0, rows, tiles = (M + DOWN - 1) / DOWN; i < M; i += rows, tiles--) {
                rows = (M - i + tiles - 1) / tiles;
                rows_of_panel(rows, depth, a + i * a_row + k * a_col, a_row, a_col, panel + k * WIDTH,
                              from ? from + i * from_row + j : 0, from_row, c + i * c_row + j, c_row, N - j);
            }
        }
    }
}

/* numbers of the memory that `product` works in */
enum { BLOCK = 96 };
#define WORK(N) (PACKED(DEPTH, N) + DEPTH * BLOCK)

/* c = start + a b: some terms at a time, of which b is packed, and rows of a in blocks, packed where its columns aren't side by side */
HELPER void product(ptrdiff_t M, ptrdiff_t K, ptrdiff_t N, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *b,
                    ptrdiff_t b_row, ptrdiff_t b_col, const real *start, ptrdiff_t start_row, real *c, ptrdiff_t c_row, real *work) {
    real *const packed = work + DEPTH * BLOCK;
    for (ptrdiff_t k = 0; k < K || k == 0; k += DEPTH) {
        const ptrdiff_t depth = K - k < DEPTH ? K - k : DEPTH, from_row = k ? c_row : start_row;
        const real *from = k ? c : start;
        pack(depth, N, b + k * b_row, b_row, b_col, packed);
        for (ptrdiff_t first = 0; first < M; first += BLOCK) {
            const ptrdiff_t rows = M - first < BLOCK ? M - first : BLOCK;
            const real *block = a + first * a_row + k * a_col;
            ptrdiff_t row = a_row, column = a_col, next = DOWN * a_row;
            if (a_col != 1) {
                pack_rows(rows, depth, block, a_row, a_col, work);
                block = work, row = 1, column = DOWN, next = DOWN * depth;
            }
            SHARED(rows * depth * N)
            for (ptrdiff_t j = 0; j < N; j += WIDTH)
                for (ptrdiff_t i = 0; i < rows; i += DOWN)
                    rows_of_panel(rows - i, depth, block + i / DOWN * next, row, column, packed + j * depth,
                                  from ? from + (first + i) * from_row + j : 0, from_row, c + (first + i) * c_row + j, c_row, N - j);
        }
    }
}

/* ---- vectors whose elements lie `stride` apart */

INLINE vec square(vec x) { return x * x; }

HELPER real dot(ptrdiff_t n, const real *a, ptrdiff_t a_stride, const real *b, ptrdiff_t b_stride) {
    vec sum = {0};
    real rest = 0;
    ptrdiff_t k = 0;
    if (a_stride == 1 && b_stride == 1)
        for (; k + LANES <= n; k += LANES) sum += load(a + k, LANES) * load(b + k, LANES);
    for (; k < n; k++) rest += a[k * a_stride] * b[k * b_stride];
    return across(sum, LANES) + rest;
}

/* c = start + a b of a b of one column */
HELPER void dots(ptrdiff_t M, ptrdiff_t K, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *b, ptrdiff_t b_row,
                 const real *start, ptrdiff_t start_row, real *c, ptrdiff_t c_row) {
    for (ptrdiff_t i = 0; i < M; i++)
        c[i * c_row] = (start ? start[i * start_row] : 0) + dot(K, a + i * a_row, a_col, b, b_row);
}

/* the largest one; nan where there is a nan, -inf where there are none */
HELPER real top(ptrdiff_t n, const real *z, ptrdiff_t stride) {
    real found = -(real)INFINITY;
    for (ptrdiff_t k = 0; k < n; k++) found = z[k * stride] > found || z[k * stride] != z[k * stride] ? z[k * stride] : found;
    return found;
}

/* where the first of the largest ones is, as NumPy's argmax: of nans the first one */
HELPER ptrdiff_t first_of_largest(ptrdiff_t n, const real *z, ptrdiff_t stride) {
    ptrdiff_t found = 0;
    for (ptrdiff_t k = 1; k < n; k++) {
        const real best = z[found * stride], one = z[k * stride];
        if (best == best && (one > best || one != one)) found = k;
    }
    return found;
}

/* log(sum(exp(z - top))) */
HELPER real log_of_sum(ptrdiff_t n, const real *z, ptrdiff_t stride, real top) {
    real sum = 0;
    for (ptrdiff_t k = 0; k < n; k += LANES) {
        const ptrdiff_t count = n - k;
        sum += across(exponential(gather(z + k * stride, stride, count) - top), count);
    }
    return (real)log((double)sum);
}

HELPER void softmax(ptrdiff_t n, const real *z, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    const real largest = top(n, z, stride);
    real sum = 0;
    for (ptrdiff_t k = 0; k < n; k += LANES) {
        const ptrdiff_t count = n - k;
        const vec e = exponential(gather(z + k * stride, stride, count) - largest);
        scatter(out + k * out_stride, out_stride, e, count);
        sum += across(e, count);
    }
    for (ptrdiff_t k = 0; k < n; k++) out[k * out_stride] /= sum;
}

HELPER void log_softmax(ptrdiff_t n, const real *z, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    const real largest = top(n, z, stride), below = log_of_sum(n, z, stride, largest);
    for (ptrdiff_t k = 0; k < n; k++) out[k * out_stride] = (z[k * stride] - largest) - below;
}

HELPER real logsumexp(ptrdiff_t n, const real *z, ptrdiff_t stride) {
    const real largest = top(n, z, stride);
    return largest + log_of_sum(n, z, stride, largest);
}

HELPER void first_largest(ptrdiff_t n, const real *z, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    for (ptrdiff_t k = 0; k < n; k++) out[k * out_stride] = 0;
    if (n) out[first_of_largest(n, z, stride) * out_stride] = 1;
}

HELPER real largest(ptrdiff_t n, const real *z, ptrdiff_t stride) { return n ? z[first_of_largest(n, z, stride) * stride] : 0; }

HELPER void cumulative(ptrdiff_t n, const real *z, ptrdiff_t stride, real *out, ptrdiff_t out_stride) {
    real sum = 0;
    for (ptrdiff_t k = 0; k < n; k++) out[k * out_stride] = sum += z[k * stride];
}

HELPER void zero(real *to, ptrdiff_t count) {
    if (count > 0) memset(to, 0, (size_t)count * sizeof(real));
}

/* memory of its own, at the beginning of what is left; every array starts at a multiple of 64 bytes */
#define ROOM(count) (((count) * (ptrdiff_t)sizeof(real) + 63) / 64 * 64)
INLINE real *take(char **memory, ptrdiff_t count) {
    real *const found = (real *)*memory;
    *memory += ROOM(count);
    return found;
}
