// One function for std::visit from one lambda per alternative.
#pragma once

namespace tapescope {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

}  // namespace tapescope
