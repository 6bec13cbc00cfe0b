/* The peak of one core in single precision: nothing but fused multiply-adds on registers, the best of several runs.
   A line of JSON, as work.py's tell() writes; table.py and plot_learning.py read it. */
#include <stdio.h>
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__FMA__)
#define LANES 8
#else
#define LANES 4 /* and a multiplication and an addition, not fused */
#endif

/* Independent chains: two units that take four cycles need eight. Names, not an array: an array may stay in memory. */
#define CHAINS 12
#define EACH(DO) DO(a) DO(b) DO(c) DO(d) DO(e) DO(f) DO(g) DO(h) DO(i) DO(j) DO(k) DO(l)

typedef float vector __attribute__((vector_size(LANES * sizeof(float))));

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

static volatile float by = 0.999f;

/* Answers something that depends on all chains, so that none is left out. */
static float run(long rounds) {
  vector factor = (vector){0} + by, addend = 1 - factor, sum = (vector){0};
#define START(chain) vector chain = sum + by;
#define STEP(chain) chain = chain * factor + addend; __asm__("" : "+v"(chain)); /* one instruction, no algebra */
#define ADD(chain) sum += chain;
  EACH(START)
  for (long round = 0; round < rounds; round++) {
    EACH(STEP)
  }
  EACH(ADD)
  return sum[0];
}

int main(void) {
  const long rounds = 200000; /* under a millisecond: some run is undisturbed */
  double best = 0;
  float kept = 0;
  for (int repeat = 0; repeat < 1000; repeat++) {
    double start = seconds();
    kept += run(rounds);
    double rate = 2.0 * LANES * CHAINS * rounds / (seconds() - start) / 1e9;
    if (rate > best) best = rate;
  }
  printf("{\"system\": \"fma loop, %d lanes\", \"work\": \"peak float32, one core\", \"heap\": \"default\", "
         "\"gflops\": %.1f, \"kept\": %g}\n", LANES, best, kept);
  return 0;
}
