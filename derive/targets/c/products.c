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
