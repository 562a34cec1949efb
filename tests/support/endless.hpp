#pragma once

namespace support {

/// A query that never ends, and never gives a row.
inline constexpr const char* endless_read =
    "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c";

}  // namespace support
