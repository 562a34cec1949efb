#include "backup_loan.hpp"

#include "engine/replaced_database.hpp"
#include <cosqlite/detail/callable.hpp>

namespace cosqlite::detail {

namespace {

/// Goes with the call that was to lend the connection, whether it ran or not.
struct loan_end {
  explicit loan_end(std::shared_ptr<loan> l) noexcept : of(std::move(l)) {}
  loan_end(const loan_end&) = delete;
  loan_end& operator=(const loan_end&) = delete;
  ~loan_end() { of->lent->open(); }
  std::shared_ptr<loan> of;
};

/// Does nothing itself: it completes when the gate opens.
constexpr operation_type wait_operation{};

}  // namespace

std::exception_ptr gate::refusal(const operation& op) noexcept {
  if (!opened_by_->refusal(op)) return nullptr;
  return std::make_exception_ptr(misuse_error(
      "this backup would wait for ever for its destination, which its own coroutine holds by a transaction, a lease or "
      "the task of a function: end that first",
      {SQLITE_MISUSE, {}, op.location}));
}

call<> wait_for_loan(const call_site& site, const std::shared_ptr<loan>& l, const std::source_location& where) {
  call_site s = site;
  s.where = l->lent.get();
  s.owner = 0;
  operation_ref op = make_operation(s, wait_operation);
  op->location = where;
  return call<>(std::move(op));
}

void ask_for_loan(const call_site& to, const std::shared_ptr<loan>& l, const std::source_location& where) {
  auto end = std::make_shared<loan_end>(l);
  auto work = [end](worker& at, operation&) {
    end->of->lend(at);
    if (end->of->replaced) tell_of_replacement(at);
  };
  end = nullptr;
  using kind = callable_type<decltype(work), void>;
  operation_ref op = make_operation(to, kind::type);
  op->location = where;
  op->closure = std::make_unique<callable_holder<decltype(work)>>(std::move(work));
  if (!start(*op, {})) check(*op);
}

}  // namespace cosqlite::detail
