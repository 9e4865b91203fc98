// How much a class's score answers to a concept that is shown by pictures of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tapescope::explain {

using Rows = std::vector<std::vector<float>>;  // one flattened activation or gradient a picture

// A concept's direction in a node's space: the normal, of length 1, of a linear classifier between
// the concept's pictures and others, pointing to the concept's side (Kim et al. 2018, arXiv
// 1711.11279, section 3.2). The classifier is a ridge regression to +1 and -1 on centred
// activations: it has one solution, and takes more dimensions than pictures.
struct ConceptVector {
  std::vector<double> direction;
  double accuracy = 0;  // of a classifier of two thirds of the pictures on the others
};
// At least 3 rows each, of one length; a usage error otherwise.
ConceptVector concept_vector(const Rows& shown, const Rows& others);

struct TcavScore {
  double share = 0;      // of the class's pictures whose score grows along the direction
  double magnitude = 0;  // mean derivative along it
};
// `gradients`: of the class's score at the node, one row a picture of the class.
TcavScore tcav(const ConceptVector& vector, const Rows& gradients);

// Whether two samples have one mean: Welch's t-test, two-sided. At least two values each. p is 1
// where all values are equal, 0 where only the means differ.
struct TTest {
  double t = 0, degrees = 0, p = 1;
};
TTest t_test(std::span<const double> a, std::span<const double> b);

}  // namespace tapescope::explain
