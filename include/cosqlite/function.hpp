/// \file
/// SQL functions written in C++.
#pragma once

#include <cosqlite/call.hpp>
#include <cosqlite/detail/callable.hpp>
#include <cosqlite/detail/export.hpp>
#include <cosqlite/detail/signature.hpp>
#include <cosqlite/task.hpp>

#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

namespace cosqlite {

/// What SQLite may assume of a function, and who may call it.
struct function_options {
  bool deterministic = false;  ///< equal arguments give an equal result: indexes may use it, SQLite may call it less
  bool direct_only = false;    ///< not from views, triggers and what else stands in the schema of a file
  bool innocuous = false;      ///< harmless: also from a schema that is not trusted
};

namespace detail {

/// A scalar function without its types.
class COSQLITE_API scalar_function {
 public:
  scalar_function() = default;
  scalar_function(const scalar_function&) = delete;
  scalar_function& operator=(const scalar_function&) = delete;
  virtual ~scalar_function();
  /// On the worker. May throw.
  virtual void call(const argument_list& from, sink& to) = 0;
};

/// One run of a function that returns a task.
class COSQLITE_API loop_job {
 public:
  loop_job() = default;
  loop_job(const loop_job&) = delete;
  loop_job& operator=(const loop_job&) = delete;
  virtual ~loop_job();
  /// On the loop: runs the function to its end and keeps its result.
  virtual task<> run() = 0;
  /// On the worker, when `run` has ended well.
  virtual void give(sink& to) = 0;
};

/// On the worker: runs \p job on the loop and waits for its end. Throws what it threw, or why the call was stopped
/// meanwhile; then the job's task is destroyed on the loop.
COSQLITE_API void run_on_loop(std::shared_ptr<loop_job> job);

template <class F, class S>
class scalar_callable;

template <class F, class R, class... P>
class scalar_callable<F, signature<R, P...>> final : public scalar_function {
 public:
  template <class G>
  explicit scalar_callable(G&& fn) : fn_(std::forward<G>(fn)) {}

  void call(const argument_list& from, sink& to) override { call_with(from, to, std::index_sequence_for<P...>()); }

 private:
  template <std::size_t... I>
  void call_with(const argument_list& from, sink& to, std::index_sequence<I...>) {
    check_count<P...>(from);
    bind_result<R>(to, [&]() -> R { return fn_(read_argument<P>(from, I)...); });
  }

  F fn_;
};

template <class F, class T, class... P>
class task_job final : public loop_job {
 public:
  task_job(std::shared_ptr<F> fn, const argument_list& from) : fn_(std::move(fn)), copy_(from) {}

  task<> run() override {
    decoded_.emplace(copy_.list());
    if constexpr (std::is_void_v<T>) {
      co_await decoded_->apply(*fn_);
    } else {
      auto pending = decoded_->apply(*fn_);
      result_.emplace(co_await std::move(pending));
    }
  }
  void give(sink& to) override {
    if constexpr (std::is_void_v<T>) {
      to.null();
    } else {
      const transient_scope temporary(to);
      detail::bind(to, *result_);
    }
  }

 private:
  std::shared_ptr<F> fn_;
  argument_copy copy_;
  std::optional<decoded_arguments<P...>> decoded_;
  std::conditional_t<std::is_void_v<T>, std::nullptr_t, std::optional<T>> result_{};
};

template <class F, class T, class... P>
class scalar_callable<F, signature<task<T>, P...>> final : public scalar_function {
 public:
  template <class G>
  explicit scalar_callable(G&& fn) : fn_(std::make_shared<F>(std::forward<G>(fn))) {}

  void call(const argument_list& from, sink& to) override {
    auto job = std::make_shared<task_job<F, T, P...>>(fn_, from);
    run_on_loop(job);
    job->give(to);
  }

 private:
  std::shared_ptr<F> fn_;
};

template <class S>
struct arguments_of;
template <class R, class... P>
struct arguments_of<signature<R, P...>> {
  static constexpr int count = argument_count<P...>();
};

/// \p arguments: their number, or -1.
COSQLITE_API call<> create_function(const call_site& site, std::string name, int arguments, function_options options,
                                    std::unique_ptr<scalar_function> fn, std::source_location where);
COSQLITE_API call<> remove_function(const call_site& site, std::string name, std::source_location where);

}  // namespace detail

/// What a connection offers for scalar functions.
template <class Self>
class function_calls {
 public:
  /// Makes \p fn an SQL function of this connection. The types and the number of its arguments are those of its
  /// parameters: integers, bool, floating point, `std::string_view`, `std::string`, `std::span<const std::byte>`,
  /// `bytes`, enums, types with an `adapter`, `std::optional` of all these where NULL may come, `value` and
  /// `value_view` for any type; a last parameter `std::span<const value_view>` takes all further arguments. Views are
  /// valid during the call. Nothing is converted silently: an argument of another type is a `conversion_error` that
  /// names the function and the argument. The result may be anything that can be bound; void gives NULL.
  ///
  /// \p fn runs on the worker thread, and is destroyed there: it must share nothing with the loop unguarded, and cannot
  /// call the connection. What it throws reaches the coroutine whose statement called it as the same object.
  ///
  /// A function that returns a `task<T>` runs on the loop instead, while the worker waits; so the connection does
  /// nothing else meanwhile. Deadline, stop token and closing of the statement's call end the wait, and the unfinished
  /// task is destroyed on the loop. Its views refer to copies that live as long as the task. Awaiting its own
  /// connection is a `misuse_error`.
  ///
  /// A function of the same name and number of arguments is replaced; not while a statement runs (a stream is open):
  /// that is a `busy_error`. Other errors: `misuse_error` for a name that is too long.
  template <class F>
  [[nodiscard]] call<> create_function(std::string name, F&& fn, function_options options = {},
                                       std::source_location where = std::source_location::current()) {
    detail::check_callable<F>();
    using function = std::decay_t<detail::callable_t<F>>;
    using types = detail::signature_of<function>;
    auto typed =
        std::make_unique<detail::scalar_callable<function, types>>(detail::unwrap_callable(std::forward<F>(fn)));
    return detail::create_function(static_cast<Self&>(*this).site(), std::move(name),
                                   detail::arguments_of<types>::count, options, std::move(typed), where);
  }

  /// Removes the scalar and aggregate functions of that name, whatever their number of arguments. A built-in function
  /// that one of them had replaced does not come back. `misuse_error` when there is none, `busy_error` while a
  /// statement runs.
  [[nodiscard]] call<> remove_function(std::string name, std::source_location where = std::source_location::current()) {
    return detail::remove_function(static_cast<Self&>(*this).site(), std::move(name), where);
  }
};

}  // namespace cosqlite
