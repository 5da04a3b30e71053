// SPDX-License-Identifier: BSD-3-Clause
// Fibres with stacks of their own.
#include "fibres.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <memory>
#include <new>
#include <numeric>
#include <sys/mman.h>

#include "../random_source.hpp"

#if !defined(__x86_64__)
#include <ucontext.h>
#else
// Saves what a called function must keep, and the place to go on, on the stack it leaves.
extern "C" void stand_in_change_stack(void** left, void* next);
asm(R"(
.text
.type stand_in_change_stack, @function
stand_in_change_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size stand_in_change_stack, . - stand_in_change_stack
)");
#endif

namespace stand_in {

namespace {

constexpr std::size_t stack_bytes = std::size_t{256} << 10;
constexpr std::size_t guard_page = std::size_t{64} << 10;  // no machine's pages are larger

[[noreturn]] void enter();

#if defined(__x86_64__)

struct context {
  void* top = nullptr;

  void prepare(std::byte* stack) {
    constexpr int kept = 6;
    auto* const end = reinterpret_cast<void**>(stack + stack_bytes);
    end[-1] = nullptr;  // enter() returns nowhere
    end[-2] = reinterpret_cast<void*>(&enter);
    for (int i = 0; i < kept; ++i) end[-3 - i] = nullptr;
    top = end - 2 - kept;
  }
  void change_to(context& next) { stand_in_change_stack(&top, next.top); }
};

#else

struct context {
  ucontext_t saved;

  __attribute__((noinline)) void prepare(std::byte* stack) {
    getcontext(&saved);
    saved.uc_stack.ss_sp = stack;
    saved.uc_stack.ss_size = stack_bytes;
    saved.uc_link = nullptr;
    makecontext(&saved, &enter, 0);
  }
  void change_to(context& next) { swapcontext(&saved, &next.saved); }
};

#endif

/// A stack with a page below it that must not be touched.
class stack {
 public:
  stack()
      : memory_(
            static_cast<std::byte*>(mmap(nullptr, stack_bytes + guard_page, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory_, guard_page, PROT_NONE);
  }
  ~stack() { munmap(memory_, stack_bytes + guard_page); }
  stack(const stack&) = delete;
  stack& operator=(const stack&) = delete;
  [[nodiscard]] std::byte* begin() const { return memory_ + guard_page; }

 private:
  std::byte* memory_;
};

struct stack_store {
  std::vector<std::unique_ptr<stack>> free;
  std::unique_ptr<stack> take() {
    if (free.empty()) return std::make_unique<stack>();
    auto made = std::move(free.back());
    free.pop_back();
    return made;
  }
};
thread_local stack_store stacks;
thread_local fibre_scheduler* current = nullptr;

}  // namespace

class fibre_scheduler {
 public:
  fibre_scheduler(int threads, std::uint64_t seed)
      : random_(seed), fibres_(static_cast<std::size_t>(threads)) {}

  bool run(fibre_block& block, void (*thread)(void*, fibre_block&, int), void* context_of_body) {
    block_ = &block;
    thread_ = thread;
    context_of_body_ = context_of_body;
    current = this;
    std::vector<int> turn(fibres_.size());
    std::iota(turn.begin(), turn.end(), 0);
    const std::uint64_t how = random_.word() % 4;
    if (how == 0) std::reverse(turn.begin(), turn.end());
    bool progress = true;
    for (std::size_t left = turn.size(); left > 0 && progress;) {
      progress = false;
      if (how == 1) shuffle(turn);
      for (const int i : turn) {
        fibre& f = fibres_[static_cast<std::size_t>(i)];
        if (f.done || (f.waits_for != nullptr && *f.waits_for == f.epoch)) continue;
        progress = true;
        resume(i);
        if (f.done) --left;
      }
    }
    // those that wait for ever hold nothing that needs destruction
    for (fibre& f : fibres_) {
      if (f.own) stacks.free.push_back(std::move(f.own));
    }
    current = nullptr;
    return progress;
  }

  /// Called by a fibre: lets others run until the epoch is another one.
  void wait_for(const int& epoch, int old) {
    fibre& f = fibres_[static_cast<std::size_t>(running_)];
    f.waits_for = &epoch;
    f.epoch = old;
    f.at.change_to(main_);
    f.waits_for = nullptr;
  }

  /// The first function of a fibre.
  [[noreturn]] void begin() {
    thread_(context_of_body_, *block_, running_);
    fibre& f = fibres_[static_cast<std::size_t>(running_)];
    f.done = true;
    f.at.change_to(main_);
    std::abort();  // nobody goes on with a fibre that is done
  }

 private:
  struct fibre {
    context at;
    std::unique_ptr<stack> own;
    const int* waits_for = nullptr;
    int epoch = 0;
    bool done = false;
  };

  void resume(int i) {
    fibre& f = fibres_[static_cast<std::size_t>(i)];
    if (!f.own) {
      f.own = stacks.take();
      f.at.prepare(f.own->begin());
    }
    running_ = i;
    main_.change_to(f.at);
    // the next one to begin takes the same stack: threads without barriers need but one
    if (f.done) stacks.free.push_back(std::move(f.own));
  }
  void shuffle(std::vector<int>& turn) {
    for (std::size_t i = turn.size(); i > 1; --i) {
      std::swap(turn[i - 1], turn[static_cast<std::size_t>(random_.below(static_cast<int>(i)))]);
    }
  }

  support::random_source random_;
  std::vector<fibre> fibres_;
  context main_;
  int running_ = 0;
  fibre_block* block_ = nullptr;
  void (*thread_)(void*, fibre_block&, int) = nullptr;
  void* context_of_body_ = nullptr;
};

namespace {

void enter() { current->begin(); }

constexpr std::size_t barrier_kinds = 7;  // all, and groups of 1 to 32

}  // namespace

fibre_block::fibre_block(fibre_scheduler& scheduler, int threads, std::size_t scratch_bytes)
    : scheduler_(&scheduler),
      threads_(threads),
      scratch_(scratch_bytes, std::byte{0xA5}),
      exchange_(static_cast<std::size_t>(threads)),
      barriers_(static_cast<std::size_t>(threads) * barrier_kinds) {}

void fibre_block::wait(int first, int count, int kind) {
  barrier& at = barriers_[static_cast<std::size_t>(first) * barrier_kinds +
                          static_cast<std::size_t>(std::bit_width(static_cast<unsigned>(kind)))];
  if (++at.arrived == count) {
    at.arrived = 0;
    ++at.epoch;
    return;
  }
  scheduler_->wait_for(at.epoch, at.epoch);
}

bool run_block(int threads, std::size_t scratch_bytes, std::uint64_t seed,
               void (*thread)(void*, fibre_block&, int), void* context) {
  fibre_scheduler scheduler(threads, seed);
  fibre_block block(scheduler, threads, scratch_bytes);
  return scheduler.run(block, thread, context);
}

}  // namespace stand_in
