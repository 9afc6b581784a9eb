"""What a basket costs, in cents."""


def total(basket, discount_percent=0):
    """The sum of a basket of (cents, count), less a discount, rounded to the nearest cent."""
    cents = sum(price * count for price, count in basket)
    return cents - cents * discount_percent // 10
