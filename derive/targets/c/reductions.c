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
