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

call<> wait_for_loan(const call_site& site, const std::shared_ptr<loan>& l) {
  call_site s = site;
  s.where = l->lent.get();
  s.owner = 0;
  return call<>(make_operation(s, wait_operation));
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
