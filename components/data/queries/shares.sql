-- Share of each sentiment within its category
SELECT
  product_category,
  sentiment,
  count(*) AS reviews,
  round(CAST(count(*) AS DOUBLE) / sum(count(*)) OVER (PARTITION BY product_category), 4)
    AS share
FROM reviews
GROUP BY product_category, sentiment
ORDER BY product_category, sentiment
