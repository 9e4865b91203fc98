// The structure drawn: for Graphviz, and as a picture that needs no other program.
#pragma once

#include "tools/inspection/structure.h"

namespace tapescope::inspection {

// Boxes coloured by a column of the table (column_names()), light to dark; residual sums and
// branches are edges. The dot language: `dot -Tpdf`.
std::string to_dot(const Structure& structure, const std::string& colour_by);
// A standing SVG picture: a row per node in running order, an edge to the next row straight, any
// other an arc on the right.
std::string to_svg(const Structure& structure, const std::string& colour_by);

// Two architectures row by row: what only one has, what both have with other shapes, attributes or
// parameters, and the totals. Rows are the same where their paths are. Empty where nothing differs.
std::string diff(const Structure& before, const Structure& after);

}  // namespace tapescope::inspection
